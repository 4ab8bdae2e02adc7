package redisl2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestURLAddresses(t *testing.T) {
	for url, want := range map[string][]string{
		"redis://n1":                                  {"n1:6379"},
		"redis://n1?addr=n2&addr=n3":                  {"n1:6379", "n2:6379", "n3:6379"},
		"redis://n1:7000?addr=n2&addr=n3:7001":        {"n1:7000", "n2:6379", "n3:7001"},
		"redis://n1:7000?addr=:7001":                  {"n1:7000", "n1:7001"},
		"redis://n1:26379?addr=n2:26379&master_set=m": {"n1:26379", "n2:26379"},
		"redis://[::1]:7000?addr=[::2]&addr=[::3]:1":  {"[::1]:7000", "[::2]:6379", "[::3]:1"},
		"unix:///run/redis.sock":                      {"/run/redis.sock"},
	} {
		if opt, err := parseURL(url); err != nil || !slices.Equal(opt.InitAddress, want) {
			t.Errorf("%s: %q, %v; want %q", url, opt.InitAddress, err, want)
		}
	}
	for url, want := range map[string]string{
		"redis://n1?addr=":                 "addr is empty",
		"redis://n1?addr=::2":              `"::2" is no host:port`,
		"redis://n1?addr=[::2":             `"[::2" is no host:port`,
		"redis://n1?addr=n2]":              `"n2]" is no host:port`,
		"redis://n1?addr=n2:":              `"n2:" is no host:port`,
		"unix:///run/redis.sock?addr=n2:1": "socket",
	} {
		if _, err := parseURL(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// Each server is asked for a certificate of its own name, not for one of the first.
func TestURLCertificates(t *testing.T) {
	pool := x509.NewCertPool()
	localhost := listenTLS(t, pool, &x509.Certificate{DNSNames: []string{"localhost"}})
	ip := listenTLS(t, pool, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	for url, refused := range map[string]bool{
		"rediss://localhost:" + localhost + "?addr=127.0.0.1:" + ip:        false,
		"rediss://localhost:" + localhost + "?addr=127.0.0.1:" + localhost: true,
		"rediss://localhost:" + ip:                                         true,
		// The sentinels tell the address of the master.
		"rediss://localhost:" + localhost + "?master_set=m": false,
	} {
		opt, err := parseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		opt.TLSConfig.RootCAs = pool
		if opt.Sentinel.MasterSet != "" {
			opt.InitAddress = append(opt.InitAddress, "127.0.0.1:"+ip)
		}
		err = nil
		for _, addr := range opt.InitAddress {
			c, failed := dial(t.Context(), addr, &net.Dialer{}, opt.TLSConfig)
			if failed == nil {
				_ = c.Close()
			} else {
				err = failed
			}
		}
		if (err != nil) != refused {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// listenTLS shows a certificate to whoever connects, and returns its port.
func listenTLS(t *testing.T, pool *x509.CertPool, cert *x509.Certificate) (port string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber, cert.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(leaf)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = c.(*tls.Conn).Handshake()
				_ = c.Close()
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}
