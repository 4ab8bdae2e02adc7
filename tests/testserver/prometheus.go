package testserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
)

// PrometheusServer is one prometheus process.
type PrometheusServer struct {
	t   testing.TB
	url string
}

// Promtool runs promtool and returns what it says.
func Promtool(t testing.TB, args ...string) (output string, err error) {
	t.Helper()
	out, err := exec.Command(prometheusProgram(t, "promtool"), args...).CombinedOutput()
	return string(out), err
}

// Prometheus starts a server with this configuration file, and kills it when the test
// ends.
func Prometheus(t testing.TB, configFile string) *PrometheusServer {
	t.Helper()
	binary := prometheusProgram(t, "prometheus")
	p := &PrometheusServer{t: t}
	// Another process may take the port between our look and the server's bind.
	for try := 0; ; try++ {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		var log testsync.Buffer
		cmd := exec.Command(binary, "--config.file="+configFile, "--storage.tsdb.path="+t.TempDir(),
			fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port), "--log.level=warn")
		cmd.Stdout, cmd.Stderr = &log, &log
		cmd.SysProcAttr = dieWithParent(syscall.SIGKILL)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		stop := func() { _ = cmd.Process.Kill(); <-ended }
		p.url = fmt.Sprintf("http://127.0.0.1:%d", port)
		ready := testsync.Poll(startTimeout, func() bool {
			select {
			case <-ended:
				return true
			default:
				_, err := p.get("/-/ready")
				return err == nil
			}
		})
		select {
		case <-ended:
			if try < 4 && strings.Contains(log.String(), "address already in use") {
				continue
			}
			t.Fatalf("prometheus ended at once:\n%s", log.String())
		default:
		}
		t.Cleanup(func() {
			stop()
			if t.Failed() {
				t.Logf("the log of prometheus:\n%s", log.String())
			}
		})
		if !ready {
			t.Fatal("prometheus is not ready")
		}
		return p
	}
}

// prometheusProgram finds prometheus or promtool: on PATH, then where
// scripts/bootstrap.sh puts them.
func prometheusProgram(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, ".cache", "bin", name)
	if _, err := os.Stat(path); err != nil {
		Missing(t, "%s is not on PATH: run scripts/bootstrap.sh", name)
	}
	return path
}

// URL is the base URL.
func (p *PrometheusServer) URL() string { return p.url }

// FiringAlert is an alert that fires.
type FiringAlert struct {
	State       string
	Labels      map[string]string
	Annotations map[string]string
}

// Alerts returns the alerts that are pending or fire now.
func (p *PrometheusServer) Alerts() []FiringAlert {
	p.t.Helper()
	var answer struct {
		Data struct{ Alerts []FiringAlert }
	}
	p.decode("/api/v1/alerts", &answer)
	return answer.Data.Alerts
}

// Query evaluates an expression now, and returns the labels of each series that it has.
// err is what the server has against the expression.
func (p *PrometheusServer) Query(expression string) (series []map[string]string, err error) {
	body, err := p.get("/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	for _, r := range answer.Data.Result {
		series = append(series, r.Metric)
	}
	return series, nil
}

func (p *PrometheusServer) decode(path string, into any) {
	p.t.Helper()
	body, err := p.get(path)
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		p.t.Fatalf("prometheus: %s: %v", path, err)
	}
}

func (p *PrometheusServer) get(path string) ([]byte, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(p.url + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}
