package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/asidecache/aside/tests/testserver"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.file, _ = a.issue("ca", nil)
	return a
}

// issue writes NAME.crt and NAME.key, valid for localhost and 127.0.0.1, or for hosts.
func (a *authority) issue(name string, serial *big.Int, hosts ...string) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if serial == nil {
		serial = big.NewInt(1)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	if len(hosts) > 0 {
		template.DNSNames, template.IPAddresses = hosts, nil
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
		a.key = key
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	mustWrite(a.t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	mustWrite(a.t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return certFile, keyFile
}

func mustWrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secretFile returns a file that holds text.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	mustWrite(t, file, text)
	return file
}

// Both listeners support TLS and HTTP/2. A changed certificate is used without a restart, an
// invalid one is not.
func TestListenersOverTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server", big.NewInt(2))
	p := start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	ask := func(url string) (*http.Response, error) {
		tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
		resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get(url)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return resp, err
	}
	serial := func() int64 {
		t.Helper()
		resp, err := ask(p.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	for _, url := range []string{p.url + "/healthz", p.admin + "/metrics"} {
		resp, err := ask(url)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 || resp.ProtoMajor != 2 || !strings.HasPrefix(url, "https://") {
			t.Errorf("%s: %d, HTTP/%d", url, resp.StatusCode, resp.ProtoMajor)
		}
	}
	if got := serial(); got != 2 {
		t.Errorf("serial number %d", got)
	}
	ca.issue("server", big.NewInt(3))
	testserver.Eventually(t, 20*time.Second, "the new certificate is shown", func() bool { return serial() == 3 })
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, cert, "no certificate")
	p.signal(syscall.SIGHUP)
	testserver.Eventually(t, 20*time.Second, "it says that it cannot use it", func() bool { return strings.Contains(p.logged(), "keeping the previous one") })
	if got := serial(); got != 3 {
		t.Errorf("serial number %d", got)
	}
	mustWrite(t, cert, string(good))
	p.signal(syscall.SIGHUP)
	testserver.Eventually(t, 20*time.Second, "it reads it again", func() bool { return strings.Count(p.logged(), "certificate reloaded") == 2 })
	p.signal(os.Interrupt)
	p.wantExit(0)

	// The commands of operators reach a loopback listener with a certificate for the public
	// name. Caught: no way to do that, and "does not answer".
	cert, key = ca.issue("public", big.NewInt(4), "todo.example.com")
	p = start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	plain := start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0")
	if _, stderr, code := asideRun(t, nil, "health", "--url", strings.Replace(p.url, "https://", "http://", 1)+"/healthz"); code != 1 || !strings.Contains(stderr, "speaks TLS: write https:// in --url") {
		t.Errorf("aside health: exit %d: %s", code, stderr)
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--admin", p.admin, "--tls-ca", ca.file, "--tls-name", "todo.example.com"}, 0, "REQ/S"},
		{[]string{"--admin", p.admin, "--tls-ca", ca.file}, 1, "is for todo.example.com, not for 127.0.0.1: give the name with --tls-name"},
		{[]string{"--admin", p.admin, "--tls-ca", ca.file, "--tls-name", "other.example.com"}, 1, "not for other.example.com"},
		{[]string{"--admin", p.admin, "--tls-name", "todo.example.com"}, 1, "give the certificate of the authority with --tls-ca"},
		{[]string{"--admin", p.admin, "--tls-ca", key}, exitUsage, "--tls-ca: " + key + " contains no certificate"},
		{[]string{"--admin", p.admin, "--tls-ca", "/does/not/exist"}, exitUsage, "--tls-ca: "},
		{[]string{"--admin", strings.Replace(p.admin, "https://", "http://", 1)}, 1, "speaks TLS: write https://"},
		{[]string{"--admin", strings.Replace(plain.admin, "http://", "https://", 1)}, 1, "does not speak TLS: write http://"},
		{[]string{"--admin", plain.admin, "--tls-ca", ca.file}, exitUsage, "--tls-ca and --tls-name need an --admin that begins with https://"},
	} {
		stdout, stderr, code := asideRun(t, nil, append([]string{"nodes"}, tt.args...)...)
		if out := stdout + stderr; code != tt.code || !strings.Contains(out, tt.says) || strings.Contains(out, "does not answer") {
			t.Errorf("%v: exit %d, want %d with %q\n%s", tt.args, code, tt.code, tt.says, out)
		}
	}
}

// A certificate that is wrong in another way is no server that does not answer.
func TestTLSFault(t *testing.T) {
	for says, err := range map[string]error{
		"not valid: x509: certificate has expired":             &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}},
		"names no host (it has no subjectAltName), not for h:": x509.HostnameError{Host: "h", Certificate: &x509.Certificate{}},
		"is for a, b, c, d, e, ..., not for h:":                x509.HostnameError{Host: "h", Certificate: &x509.Certificate{DNSNames: strings.Split("abcdef", "")}},
		"is for 127.0.0.1, not for h:":                         x509.HostnameError{Host: "h", Certificate: &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}},
	} {
		if got := tlsFault(fmt.Errorf("dial: %w", err)); !strings.Contains(got, says) {
			t.Errorf("%v: %q, want %q", err, got, says)
		}
	}
	if got := tlsFault(io.EOF); got != "" {
		t.Errorf("a lost connection: %q", got)
	}
}

// A Redis that requires client certificates. Caught: there was no flag for one, and the log
// said only "connection reset by peer".
func TestRedisWithClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	serverCert, serverKey := ca.issue("redis", big.NewInt(2))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	testserver.Redis(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", serverCert, "--tls-key-file", serverKey, "--tls-ca-cert-file", ca.file,
		"--requirepass", "hunter2 +/@:%é")
	cert, key := ca.issue("client", big.NewInt(3))
	redis := []string{"serve", "--data", t.TempDir(), "--redis", fmt.Sprintf("rediss://localhost:%d", port),
		"--redis-password-file", secretFile(t, "hunter2 +/@:%é\n"), "--redis-tls-ca", ca.file}

	p := start(t, nil, append(redis, "--redis-tls-cert", cert, "--redis-tls-key", key)...)
	testserver.Eventually(t, 20*time.Second, "Redis is in use", func() bool {
		p.do("GET", "/todos/1", "")
		return strings.Contains(p.do("GET", "/todos/1", "", "Cache-Control: no-cache").cacheStatus(), "L2")
	})
	p.signal(os.Interrupt)
	p.wantExit(0)

	// Another test checks what a server does without a usable Redis. Here it must
	// only say what is missing.
	without := command(t, nil, append(redis, "--listen", "127.0.0.1:0")...)
	out, err := without.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := without.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan bool, 1)
	go func() {
		b := make([]byte, 0, 1<<16)
		for {
			n, err := out.Read(b[len(b):cap(b)])
			b = b[:len(b)+n]
			if strings.Contains(string(b), "--redis-tls-cert and --redis-tls-key") {
				said <- true
				return
			}
			if err != nil || len(b) == cap(b) {
				said <- false
				return
			}
		}
	}()
	select {
	case ok := <-said:
		if !ok {
			t.Error("it does not say that a client certificate is missing")
		}
	case <-time.After(20 * time.Second):
		t.Error("it says nothing of a client certificate")
	}
	_ = without.Process.Kill()
	_ = without.Wait()
}

// A Redis that closes the connection without a word may refuse the certificate, or want TLS:
// the log and /readyz say so. Caught: "connection reset by peer" and no more.
func TestRedisThatClosesConnections(t *testing.T) {
	ca := newAuthority(t)
	serverCert, serverKey := ca.issue("redis", big.NewInt(2))
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clientCert, clientKey := ca.issue("client", big.NewInt(3))
	for name, tt := range map[string]struct {
		scheme string
		flags  []string
		says   string
	}{
		"a certificate that is refused": {"rediss", []string{"--redis-tls-ca", ca.file, "--redis-tls-cert", clientCert, "--redis-tls-key", clientKey}, "may refuse the certificate in --redis-tls-cert"},
		"no certificate":                {"rediss", []string{"--redis-tls-ca", ca.file}, "may require a client certificate"},
		"a port with TLS":               {"redis", nil, "the port may want TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						if tt.scheme == "rediss" {
							_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
						}
						_ = c.(*net.TCPConn).SetLinger(0) // reset
						_ = c.Close()
					}()
				}
			}()
			p := start(t, nil, append([]string{"serve", "--data", t.TempDir(), "--redis", tt.scheme + "://" + l.Addr().String()}, tt.flags...)...)
			testserver.Eventually(t, 20*time.Second, "/readyz has the hint", func() bool { return strings.Contains(p.do("GET", "/readyz", "").body, tt.says) })
			testserver.Eventually(t, 20*time.Second, "the log has the hint", func() bool { return strings.Contains(p.logged(), tt.says) })
			p.signal(os.Interrupt)
			p.wantExit(0)
		})
	}
}

// Passwords from files reach the servers. They are in no flag, no log and no message.
func TestSecretsFromFiles(t *testing.T) {
	redis := testserver.Redis(t, "--requirepass", "hunter2")
	p := start(t, []string{"ASIDE_REDIS_PASSWORD_FILE=" + secretFile(t, "hunter2\r\n")}, "serve", "--data", t.TempDir(), "--redis", "redis://"+redis.Addr(), "--log-level", "debug")
	testserver.Eventually(t, 20*time.Second, "Redis is in use", func() bool {
		p.do("GET", "/todos/1", "")
		return strings.Contains(p.do("GET", "/todos/1", "", "Cache-Control: no-cache").cacheStatus(), "L2")
	})
	p.signal(os.Interrupt)
	p.wantExit(0)
	if strings.Contains(p.logged(), "hunter2") {
		t.Error("the password is in the log")
	}

	file, url := secretFile(t, "hunter2"), secretFile(t, "mongodb://u:hunter2@db1/")
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"--redis", "redis://u:hunter2@h", "--redis-password-file", file}, "has a password and --redis-password-file gives another one"},
		{[]string{"--redis-password-file", file}, "--redis-password-file needs --redis"},
		{[]string{"--redis", "redis://h", "--redis-password-file", "/nowhere"}, "--redis-password-file: open /nowhere"},
		{[]string{"--redis", "redis://h", "--redis-password-file", t.TempDir()}, "--redis-password-file: read"},
		{[]string{"--redis", "redis://h", "--redis-password-file", secretFile(t, "\n")}, "is empty"},
		{[]string{"--redis", "redis://h", "--redis-password-file", secretFile(t, "hunter2\nhunter2")}, "more than one line"},
		{[]string{"--redis", "redis://h", "--redis-password-file", secretFile(t, strings.Repeat("hunter2", 20_000))}, "longer than"},
		{[]string{"--redis", "redis://h", "--redis-sentinel-password", "hunter2", "--redis-sentinel-password-file", file}, "--redis-sentinel-password or --redis-sentinel-password-file, not both"},
		{[]string{"--redis", "redis://h", "--redis-tls-ca", file}, "rediss://"},
		{[]string{"--redis", "rediss://h", "--redis-tls-ca", file}, "--redis-tls-ca: " + file + " contains no certificate"},
		{[]string{"--redis", "rediss://h", "--redis-tls-cert", file}, "--redis-tls-cert needs --redis-tls-key"},
		{[]string{"--redis", "rediss://h", "--redis-tls-cert", file, "--redis-tls-key", file}, "--redis-tls-cert and --redis-tls-key: "},
		{[]string{"--redis-tls-key", file}, "--redis-tls-key needs --redis"},
		{[]string{"--mongo", "mongodb://db1", "--mongo-password-file", file}, "--mongo must name the user"},
		{[]string{"--mongo", "mongodb://u:hunter2@db1", "--mongo-password-file", file}, "has a password"},
		{[]string{"--mongo-password-file", file}, "--mongo-password-file needs --mongo"},
		{[]string{"--mongo", "mongodb://db1", "--mongo-file", url}, "--mongo or --mongo-file, not both"},
		{[]string{"--mongo-file", secretFile(t, "hunter2")}, "--mongo"},
		{[]string{"--postgres", "postgres://db1", "--postgres-password-file", file}, "--postgres must name the user of the password in --postgres-password-file: put the user"},
		{[]string{"--postgres", "postgres://u:hunter2@db1", "--postgres-password-file", file}, "has a password"},
		{[]string{"--postgres-password-file", file}, "--postgres-password-file needs --postgres"},
		{[]string{"--postgres", "db1", "--postgres-password-file", file}, "write it like postgres://db1/todos"},
		{[]string{"--postgres", "postgres://db1", "--postgres-file", url}, "--postgres or --postgres-file, not both"},
		{[]string{"--postgres-file", secretFile(t, "hunter2")}, "--postgres"},
		{[]string{"--mongo-file", url, "--postgres-file", secretFile(t, "postgres://u:hunter2@db1/")}, "--mongo and --postgres"},
		{[]string{"--tls-cert", file}, "--tls-cert needs --tls-key"},
		{[]string{"--tls-key", file}, "--tls-key needs --tls-cert"},
		{[]string{"--tls-cert", file, "--tls-key", file}, "--tls-cert and --tls-key: "},
		{[]string{"--admin-metrics"}, "--admin-metrics needs --admin"},
		{[]string{"--allowed-hosts", "https://a"}, "--allowed-hosts"},
		{[]string{"--max-strong-loads", "many"}, "--max-strong-loads"},
		{[]string{"--shutdown-delay=-1s", "--send-timeout=0s", "--max-requests=0"}, "--shutdown-delay must"},
	} {
		stdout, stderr, code := asideRun(t, nil, append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, tt.args...)...)
		if code != exitUsage || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: exit %d, no %q in %s", tt.args, code, tt.says, stderr)
		}
		if strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%q: a password is shown: %s", tt.args, stderr)
		}
	}
}

func TestWithPassword(t *testing.T) {
	file := secretFile(t, "p @:/?#[]%+é")
	for in, want := range map[string]string{
		"redis://h:1/0":                    "redis://:p%20%40%3A%2F%3F%23%5B%5D%25%2B%C3%A9@h:1/0",
		"rediss://u@h:1?addr=h2:1":         "rediss://u:p%20%40%3A%2F%3F%23%5B%5D%25%2B%C3%A9@h:1?addr=h2:1",
		"mongodb://u%40x@a,b/db?replica=x": "mongodb://u%40x:p%20%40%3A%2F%3F%23%5B%5D%25%2B%C3%A9@a,b/db?replica=x",
	} {
		if got, err := withPassword("--x", in, "--x-password-file", file, "redis://cache1", false); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}

// With several servers each must show a certificate of its own name.
func TestRedisServerName(t *testing.T) {
	for url, want := range map[string]string{
		"rediss://u:p@h1:1":           "h1",
		"rediss://u:p@h1:1?addr=h2:1": "",
		"rediss://h1:1?master_set=m":  "",
		"rediss://h1:1/2?skip_verify": "h1",
	} {
		var config tls.Config
		if err := (&CacheFlags{Redis: url}).urlTLS(&config); err != nil || config.ServerName != want {
			t.Errorf("%s: %q, %v; want %q", url, config.ServerName, err, want)
		}
	}
}
