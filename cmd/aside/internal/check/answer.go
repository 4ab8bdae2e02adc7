package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// act is the kind of a request.
type act uint8

const (
	readStrong act = iota
	readDefault
	create
	put
	remove
	dropKey
	dropTag
	acts
)

func (a act) String() string {
	return [...]string{"strong read", "default read", "create", "write", "delete", "drop by key", "drop by tag"}[a]
}

func (a act) write() bool { return a >= create && a <= remove }

func (a act) drop() bool { return a == dropKey || a == dropTag }

// outcome is the result of a request.
type outcome struct {
	sure    sure
	version int64  // version that was read (0: absent) or created
	tag     uint64 // tag that was read; 0 if no write of this run made it
	problem string // kind of error; "" if none
	status  int    // status of an error response
	code    string // code of its problem details, if any
	cached  string // the tag that the service gives the record in its cache
	detail  string // description of the problem
}

// sure tells what is known about the effect of a request.
type sure uint8

const (
	// told: the effect is known and goes into the history.
	told sure = iota
	// nothing was read or written.
	nothing
	// unknown: the write may have been applied, or may still be applied.
	unknown
)

// nameOf returns the name that the write with this tag gives to its record.
func nameOf(tag uint64) string { return namePrefix + strconv.FormatUint(tag, 10) }

const namePrefix = "aside check, write "

// tagOf is the inverse of nameOf. It returns 0 for other names.
func tagOf(name string) uint64 {
	digits, ok := strings.CutPrefix(name, namePrefix)
	if !ok {
		return 0
	}
	tag, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || nameOf(tag) != name {
		return 0
	}
	return tag
}

// record is the body of a successful response.
type record struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created_at"`
	Version *int64    `json:"version"`
}

// good is the expected status of each kind of request.
var good = [acts]int{
	readStrong: http.StatusOK, readDefault: http.StatusOK, create: http.StatusCreated, put: http.StatusOK, remove: http.StatusNoContent,
	dropKey: http.StatusNoContent, dropTag: http.StatusNoContent,
}

// refusals are the codes of responses with 503 after which nothing was written. They are
// from the table in cmd/aside/internal/httpapi/problem.go. After other responses, such as
// the code timeout or the 503 of a proxy, the outcome is unknown. The 504 unacknowledged
// counts as unknown too: the write was applied, but no read must show it yet.
var refusals = []string{"store_unavailable", "cache_unavailable", "overloaded", "shutting_down"}

// judge returns the outcome of a request for the record id, from its response.
func judge(a act, id string, answer httpwire.Answer) outcome {
	if answer.Status == good[a] {
		if a == remove || a.drop() {
			return outcome{}
		}
		return judgeRecord(a, id, answer.Body())
	}
	code, detail := problemOf(answer)
	if !a.write() && !a.drop() && answer.Status == http.StatusNotFound && code == "not_found" {
		return outcome{}
	}
	o := outcome{sure: unknown, status: answer.Status, code: code, problem: strings.TrimSpace(fmt.Sprintf("status %d %s", answer.Status, code))}
	if !a.write() || refused(answer.Status, code) {
		o.sure = nothing
	}
	o.detail = cut(cmp.Or(detail, string(answer.Body())))
	return o
}

// refused reports whether the response means that nothing was written.
func refused(status int, code string) bool {
	switch {
	case status == http.StatusServiceUnavailable:
		return slices.Contains(refusals, code)
	case status == http.StatusRequestTimeout:
		// The todo API sends it if the body did not arrive. Proxies send it for other
		// reasons too.
		return code == "slow_request"
	}
	return status/100 == 4
}

func judgeRecord(a act, id string, body []byte) outcome {
	var r record
	if err := json.Unmarshal(body, &r); err != nil || r.Version == nil {
		o := outcome{sure: nothing, problem: string(httpwire.Malformed), detail: cut(string(body))}
		if a.write() {
			o.sure = unknown
		}
		return o
	}
	o := outcome{version: *r.Version, tag: tagOf(r.Name), cached: todo.DayTag(r.Created)}
	if r.ID != id {
		o.tag = 0 // another record
	}
	if o.version == 0 {
		o.version = -1 // the record exists; 0 would mean absent
	}
	return o
}

// judgeFailure returns the outcome of a request without a response.
func judgeFailure(a act, f *httpwire.Failure) outcome {
	o := outcome{sure: nothing, problem: string(f.Kind), detail: f.Detail}
	if a.write() && f.Sent {
		o.sure = unknown
	}
	return o
}

// problemOf reads problem details. All error responses of the API have them.
func problemOf(answer httpwire.Answer) (code, detail string) {
	if contentType, _, _ := strings.Cut(string(answer.Header("Content-Type")), ";"); contentType != "application/problem+json" {
		return "", ""
	}
	var p struct{ Code, Detail string }
	_ = json.Unmarshal(answer.Body(), &p) // other bodies have no code
	return cut(p.Code), p.Detail
}

// cut shortens a text of a server for the report.
func cut(s string) string {
	const limit = 200
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return strings.Join(strings.Fields(s), " ")
}
