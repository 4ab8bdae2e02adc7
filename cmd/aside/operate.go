package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/ops"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// AdminFlags say which running servers the commands of operators ask.
type AdminFlags struct {
	Admin     []string      `help:"URL of a server's admin listener (aside serve --admin). The address of --listen works too, for a demo on this machine, and with --token-file. Give the flag several times to ask several servers: one that fails does not keep the others from being asked." placeholder:"URL" default:"http://127.0.0.1:8000" env:"ASIDE_ADMIN_URL"`
	TokenFile string        `help:"File with the token of the servers (aside serve --page-token-file). Admin listeners need none." placeholder:"FILE" env:"ASIDE_ADMIN_TOKEN_FILE"`
	TLSCA     string        `name:"tls-ca" help:"With https://: file with the certificates of the authorities to trust for the servers, in PEM form. Default: the authorities that this machine trusts." placeholder:"FILE" env:"ASIDE_ADMIN_TLS_CA"`
	TLSName   string        `name:"tls-name" help:"With https://: name that the certificates of the servers must have, such as todo.example.com. Default: the host in --admin, which is rarely in a certificate if it is a loopback address." placeholder:"NAME" env:"ASIDE_ADMIN_TLS_NAME"`
	Timeout   time.Duration `help:"Timeout for each server." default:"15s"`
	JSON      bool          `name:"json" help:"Print JSON."`
}

// exitDiffers is the exit code of "aside inspect" if the cache has another record than
// the store.
const exitDiffers = 3

// InspectCmd is "aside inspect".
type InspectCmd struct {
	ID string `arg:"" help:"Id of the todo."`
	AdminFlags
}

// Help is shown by "aside inspect --help".
func (*InspectCmd) Help() string {
	return `Shows what running servers have of one todo in memory (L1) and in Redis (L2), what the store has,
and whether that is the same. It changes nothing. It reads the store once for each server.

    aside inspect 1
    aside inspect --admin http://127.0.0.1:8001 --admin http://127.0.0.1:8002 1
    aside inspect 1 --json

With --json there is one object per line for each server.

The exit code is 3 if a cache has an older or newer record than the store, otherwise 1 if a server,
its Redis or the store could not be asked, 2 for a mistake in the command line, and else 0.`
}

// Validate is called by the parser.
func (c *InspectCmd) Validate(k *kong.Context) error { return notAnID(k, c.ID) }

// Run asks each server.
func (c *InspectCmd) Run(ctx context.Context, out io.Writer) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	differs, shown := false, false
	err = c.each(ctx, func(server string) error {
		var i ops.Inspection
		body, err := client.get(ctx, server, "/ops/inspect", url.Values{"id": {c.ID}}, &i)
		if err != nil {
			return err
		}
		differs = differs || i.Verdict == ops.Older || i.Verdict == ops.Newer
		if c.JSON {
			err = compact(out, body)
		} else {
			if shown {
				fmt.Fprintln(out)
			}
			if len(c.Admin) > 1 {
				fmt.Fprintf(out, "%s\n", server)
			}
			err, shown = showInspection(out, &i), true
		}
		if err == nil && i.Verdict == ops.Unknown {
			return fmt.Errorf("%s could not compare the cache with the store", server)
		}
		return err
	})
	if differs {
		return &exitError{errors.Join(errors.New("the cache has another record than the store"), err), exitDiffers}
	}
	return err
}

func showInspection(out io.Writer, i *ops.Inspection) error {
	in := ""
	if i.L2Key != "" {
		in = ", in Redis " + printable.Name(i.L2Key)
	}
	fmt.Fprintf(out, "%s%s: %s. %s\n\n", printable.Name(i.Key), in, i.Verdict, printable.Text(i.Explain))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHERE\tWHAT\tVERSION\tAGE\tENDS IN\tBYTES\tNODE\tRECORD")
	tier := func(name string, e *ops.Entry) {
		if e == nil {
			fmt.Fprintf(w, "%s\tnothing\t\t\t\t\t\t\n", name)
			return
		}
		what := e.Kind
		if e.Stale {
			what += ", stale"
		}
		record := e.Error
		if e.Value != nil {
			record = asJSON(e.Value)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, what, orDash(e.Version), ageOf(e), leftOf(e.LeftMS), orDash(uint64(e.Size)),
			printable.Name(cmp.Or(e.NodeName, e.Node, "-")), printable.Text(record))
		for _, tag := range e.Tags {
			fmt.Fprintf(w, "\ttag\t\t\t\t\t\t%s\n", printable.Name(tag))
		}
		for _, f := range e.Writers {
			who := cmp.Or(f.NodeName, f.Node, "-")
			if f.Crowd {
				who = "(several)"
			}
			fmt.Fprintf(w, "\twriter\t\t\t%s\t\t%s\t\n", leftOf(f.LeftMS), printable.Name(who))
		}
	}
	tier("L1", i.L1)
	if i.L2Key != "" || i.L2 != nil {
		if i.L2Error != "" {
			fmt.Fprintf(w, "L2\tunknown\t\t\t\t\t\t%s\n", printable.Text(i.L2Error))
		} else {
			tier("L2", i.L2)
		}
	}
	switch p := &i.Primary; {
	case p.Error != "":
		fmt.Fprintf(w, "store\tunknown\t\t\t\t\t\t%s\n", printable.Text(p.Error))
	case p.Record == nil:
		fmt.Fprintf(w, "store\tnothing\t\t\t\t\t\t\n")
	default:
		fmt.Fprintf(w, "store\trecord\t%d\t\t\t\t\t%s\n", p.Record.Version, printable.Text(asJSON(p.Record)))
	}
	return w.Flush()
}

// DropCmd is "aside drop".
type DropCmd struct {
	ID   string   `arg:"" optional:"" help:"Id of the todo."`
	Tags []string `name:"tag" help:"In place of an id: drop all todos that have this tag (aside serve --tag-days), such as created:2026-11-29 for those that were created on that day in UTC, or created:unknown. It can be given several times." placeholder:"TAG" sep:"none"`
	AdminFlags
}

// Usage replaces kong's usage line: an id and tags exclude each other.
func (*DropCmd) Usage() string { return "(<id> | --tag=TAG ...) [flags]" }

// Validate is called by the parser.
func (c *DropCmd) Validate(k *kong.Context) error {
	switch {
	case c.ID == "" && len(c.Tags) == 0:
		return errors.New("give the id of a todo, or --tag")
	case c.ID != "" && len(c.Tags) > 0:
		return errors.New("give the id of a todo or --tag, not both")
	}
	return notAnID(k, c.ID)
}

// Help is shown by "aside drop --help".
func (*DropCmd) Help() string {
	return `Removes one todo from the cache, or all todos with a tag: from Redis and from the memory of all
servers that share it. The store keeps them, and the next read loads them again. Running writes are
not disturbed.

    aside drop 1
    aside drop --admin http://127.0.0.1:8001 1
    aside drop --admin http://127.0.0.1:8001 --tag created:2026-11-29

Without Redis each server has a cache of its own: name them all.

The exit code is 0, 1 if something could not be dropped everywhere, such as while Redis is out of
reach, and 2 for a mistake in the command line.`
}

// Run asks each server.
func (c *DropCmd) Run(ctx context.Context, out io.Writer) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	what := url.Values{"id": {c.ID}}
	if len(c.Tags) > 0 {
		what = url.Values{"tag": c.Tags}
	}
	return c.each(ctx, func(server string) error {
		if _, err := client.call(ctx, http.MethodPost, server, "/ops/drop", what); err != nil {
			return err
		}
		switch {
		case c.JSON && len(c.Tags) > 0:
			fmt.Fprintln(out, asJSON(map[string]any{"server": server, "dropped_tags": c.Tags}))
		case c.JSON:
			fmt.Fprintln(out, asJSON(map[string]string{"server": server, "dropped": c.ID}))
		case len(c.Tags) > 0:
			fmt.Fprintf(out, "All with %s are dropped (asked %s).\n", printable.Text(strings.Join(c.Tags, ", ")), server)
		default:
			fmt.Fprintf(out, "%s is dropped (asked %s).\n", printable.Name(c.ID), server)
		}
		return nil
	})
}

// TopCmd is "aside top".
type TopCmd struct {
	Count int `short:"n" help:"Number of todos in each list, 1 to 100." default:"10" placeholder:"N"`
	AdminFlags
}

// Help is shown by "aside top --help".
func (*TopCmd) Help() string {
	return `Shows which todos stood out on running servers in the last minutes: the most reads, the slowest
loads from the store, the biggest entries, the most writes (each puts a fence on its key). The
numbers of reads are estimates from samples.

    aside top
    aside top -n 3 --admin http://127.0.0.1:8001 --admin http://127.0.0.1:8002

With several servers the counts are added up.`
}

// Validate is called by the parser.
func (c *TopCmd) Validate() error {
	if c.Count < 1 || c.Count > 100 {
		return fmt.Errorf("--count must be 1 to 100, is %d", c.Count)
	}
	return nil
}

// Run asks each server.
func (c *TopCmd) Run(ctx context.Context, out io.Writer) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var all ops.Top
	answered := false
	failed := c.each(ctx, func(server string) error {
		var one ops.Top
		if _, err := client.get(ctx, server, "/ops/top", url.Values{"n": {fmt.Sprint(c.Count)}}, &one); err != nil {
			return err
		}
		all.Add(&one, c.Count)
		answered = true
		return nil
	})
	if !answered {
		return failed
	}
	return errors.Join(c.show(out, &all), failed)
}

func (c *TopCmd) show(out io.Writer, all *ops.Top) error {
	if c.JSON {
		_, err := fmt.Fprintln(out, asJSON(all))
		return err
	}
	fmt.Fprintf(out, "Since %s\n", time.UnixMilli(all.Since).Format(time.TimeOnly))
	for _, list := range []struct {
		title, figure string
		of            []ops.Ranked
	}{
		{"Hottest", "READS", all.Hottest}, {"Slowest loads", "TOOK", all.Slowest},
		{"Biggest entries", "BYTES", all.Biggest}, {"Most written", "WRITES", all.Fences},
	} {
		fmt.Fprintf(out, "\n%s\n", list.title)
		if len(list.of) == 0 {
			fmt.Fprintln(out, "  none")
			continue
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(w, "  %s\tAGO\t\n", list.figure)
		for _, r := range list.of {
			ago := time.Since(time.UnixMilli(r.At)).Round(time.Second)
			fmt.Fprintf(w, "%s\t%v\t  %s\n", r.Figure(), max(ago, 0), printable.Name(r.ID))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// NodesCmd is "aside nodes".
type NodesCmd struct {
	AdminFlags
}

// Help is shown by "aside nodes --help".
func (*NodesCmd) Help() string {
	return `Shows the servers that share a cache, and what each did in the last second. One server knows all
that share its Redis. A server that has ended disappears after some seconds.

    aside nodes
    aside nodes --admin http://127.0.0.1:8001 --json`
}

// Run asks each server.
func (c *NodesCmd) Run(ctx context.Context, out io.Writer) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	nodes := map[string]dashboard.Node{}
	answered := false
	failed := c.each(ctx, func(server string) error {
		var one struct{ Nodes map[string]dashboard.Node }
		if _, err := client.get(ctx, server, "/ops/nodes", nil, &one); err != nil {
			return err
		}
		maps.Copy(nodes, one.Nodes)
		answered = true
		return nil
	})
	if !answered {
		return failed
	}
	return errors.Join(c.show(out, nodes), failed)
}

func (c *NodesCmd) show(out io.Writer, nodes map[string]dashboard.Node) error {
	if c.JSON {
		_, err := fmt.Fprintln(out, asJSON(map[string]any{"nodes": nodes}))
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tURL\tVERSION\tUP\tREQ/S\tERR/S\tP50\tP99\tHITS\tLOADS/S\tSTATE")
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		n := nodes[name]
		s := &n.Sample
		hits := "-"
		if reads := s.L1 + s.L2 + s.Misses + s.Failures; reads > 0 {
			hits = fmt.Sprintf("%.1f%%", 100*float64(s.L1+s.L2)/float64(reads))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%d\t%d\t%s\t%s\t%s\t%d\t%s\n", printable.Name(name), printable.Text(n.Info.URL), printable.Text(n.Info.Version),
			time.Duration(n.Info.UptimeS)*time.Second, s.Requests, s.Errors, ops.Millis(s.P50), ops.Millis(s.P99), hits, s.Loads, printable.Text(stateOf(s)))
	}
	return w.Flush()
}

func stateOf(s *dashboard.Sample) string {
	var states []string
	if s.Degraded != "" {
		states = append(states, "degraded: "+s.Degraded)
	}
	if s.Feed == "not fed" {
		states = append(states, "not fed: "+s.FeedReason)
	}
	if len(states) == 0 {
		return "ok"
	}
	return strings.Join(states, "; ")
}

func asJSON(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func compact(out io.Writer, body []byte) error {
	var b bytes.Buffer
	if err := json.Compact(&b, body); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}

func orDash(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func ageOf(e *ops.Entry) string {
	if e.Stored == "" {
		return "-"
	}
	return (time.Duration(e.AgeMS) * time.Millisecond).String()
}

func leftOf(ms int64) string {
	if ms < 0 {
		return "never"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

// operator asks servers for what operators may see.
type operator struct {
	http    http.Client
	token   string
	timeout time.Duration
}

func (f *AdminFlags) client() (*operator, error) {
	c := &operator{timeout: f.Timeout}
	secure := false
	for _, server := range f.Admin {
		u, err := url.Parse(server)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Contains(server, "@") || u.RawQuery != "" {
			return nil, &exitError{fmt.Errorf("--admin must be like http://127.0.0.1:8001, is %q", server), exitUsage}
		}
		secure = secure || u.Scheme == "https"
	}
	if !secure && (f.TLSCA != "" || f.TLSName != "") {
		return nil, &exitError{errors.New("--tls-ca and --tls-name need an --admin that begins with https://"), exitUsage}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.TLSName}
	if f.TLSCA != "" {
		var err error
		if config.RootCAs, err = authorities("--tls-ca", f.TLSCA); err != nil {
			return nil, &exitError{err, exitUsage}
		}
	}
	if f.TokenFile != "" {
		var err error
		if c.token, err = readSecret("--token-file", f.TokenFile); err != nil {
			return nil, &exitError{err, exitUsage}
		}
	}
	// A redirect could take the token elsewhere.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Transport = &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	return c, nil
}

// each calls ask for each server, also after others have failed.
func (f *AdminFlags) each(ctx context.Context, ask func(server string) error) error {
	var errs []error
	for _, server := range f.Admin {
		if err := ask(server); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// maxAnswer is the size of the largest answer, in bytes.
const maxAnswer = 16 << 20

// get reads an answer into v, and returns its text too.
func (c *operator) get(ctx context.Context, server, path string, query url.Values, v any) ([]byte, error) {
	body, err := c.call(ctx, http.MethodGet, server, path, query)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return nil, notOurs(server, err)
	}
	return body, nil
}

// call returns the body of a successful answer.
func (c *operator) call(ctx context.Context, method, server, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	target := strings.TrimSuffix(server, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w", err)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
			return nil, fmt.Errorf("%s did not answer within %v (--timeout)", server, c.timeout)
		}
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		if text := tlsFault(err); text != "" {
			return nil, fmt.Errorf("%s %s", server, text)
		}
		return nil, fmt.Errorf("%s does not answer: %w; give the URL of a running server with --admin", server, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: reading its answer: %w", server, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%s: its answer is larger than %d bytes", server, maxAnswer)
	case speaksTLS(response, body):
		return nil, fmt.Errorf("%s speaks TLS: write https:// in --admin", server)
	case response.StatusCode/100 == 2:
		return body, nil
	}
	var problem struct {
		Code, Detail string
		Errors       []struct{ Location, Detail string }
	}
	_ = json.Unmarshal(body, &problem)
	switch {
	case problem.Code == "no_such_path" || problem.Code == "" && response.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s has no calls for operators: give the URL of its admin listener (aside serve --admin), or start the server with --page-token-file", server)
	case problem.Code == "token_required" && c.token == "":
		return nil, fmt.Errorf("%s wants a token: give its file with --token-file", server)
	case problem.Code == "token_required":
		return nil, fmt.Errorf("%s refused the token in --token-file: it is not the one of its --page-token-file", server)
	case problem.Detail == "":
		return nil, fmt.Errorf("%s answered %s", server, response.Status)
	}
	text := problem.Detail
	for _, e := range problem.Errors {
		text += fmt.Sprintf(" %s: %s.", e.Location, e.Detail)
	}
	return nil, fmt.Errorf("%s answered %s: %s", server, response.Status, text)
}

// tlsFault says what is wrong between a server and the flags for TLS; "" if err is
// something else.
func tlsFault(err error) string {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid *tls.CertificateVerificationError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return "does not speak TLS: write http:// in --admin"
	case errors.As(err, &name):
		return fmt.Sprintf("has a certificate that %s, not for %s: give the name with --tls-name", namesOf(name.Certificate), name.Host)
	case errors.As(err, &authority):
		return "has a certificate of an authority that is not trusted: give the certificate of the authority with --tls-ca"
	case errors.As(err, &invalid):
		return fmt.Sprintf("has a certificate that is not valid: %v; renew it (--tls-cert of the server), or give another authority with --tls-ca", invalid.Err)
	}
	return ""
}

// namesOf says which hosts a certificate is for.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) == 0:
		return "names no host (it has no subjectAltName)"
	case len(names) > maxNames:
		names = append(names[:maxNames], "...")
	}
	return "is for " + strings.Join(names, ", ")
}

// maxNames is how many names of a certificate a message has.
const maxNames = 5

// speaksTLS reports whether this is what a server of Go answers on a TLS listener to a
// request without TLS.
func speaksTLS(response *http.Response, body []byte) bool {
	return response.TLS == nil && response.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte("HTTP request to an HTTPS server"))
}

func notOurs(server string, err error) error {
	return fmt.Errorf("%s does not answer like a server of aside: %w", server, err)
}
