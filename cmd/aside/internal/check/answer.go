package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// act is what a request is to do.
type act uint8

const (
	readStrong act = iota
	readDefault
	create
	put
	remove
	acts
)

func (a act) String() string {
	return [...]string{"strong read", "default read", "create", "write", "delete"}[a]
}

func (a act) write() bool { return a >= create }

// outcome is what is known after a request.
type outcome struct {
	sure    sure
	version int64  // that was read (0: absent) or made
	tag     uint64 // that was read; 0 if it is not one of ours
	problem string // what kind of error it was; "" if none
	status  int    // of an answer that is an error
	code    string // of its problem details, if it has some
	detail  string // of the problem, for people
}

// sure is how sure the effect of a request is.
type sure uint8

const (
	// told: the answer is one, and goes into the history.
	told sure = iota
	// nothing was read or written.
	nothing
	// unknown: the write may have been applied, or may be applied yet.
	unknown
)

// nameOf is the name of the record that the write with this tag makes.
func nameOf(tag uint64) string { return namePrefix + strconv.FormatUint(tag, 10) }

const namePrefix = "aside check, write "

// tagOf is nameOf's inverse; 0 for a name that nameOf did not make.
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

// record is what the answers hold.
type record struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version *int64 `json:"version"`
}

// good is the status of an answer that goes into the history.
var good = [acts]int{readStrong: http.StatusOK, readDefault: http.StatusOK, create: http.StatusCreated, put: http.StatusOK, remove: http.StatusNoContent}

// refusals are the codes of answers with 503 that say that nothing was written.
// They are from the table in cmd/aside/internal/httpapi/problem.go, and no others are:
// timeout, or the 503 of a proxy, leave it open. So does the 504 unacknowledged.
// Such a write was applied, but nobody was promised to see it: that is what a
// write of unknown outcome is that a read may show.
var refusals = []string{"store_unavailable", "cache_unavailable", "overloaded", "shutting_down"}

// judge says what an answer to a request for the record id means.
func judge(a act, id string, answer httpwire.Answer) outcome {
	if answer.Status == good[a] {
		if a == remove {
			return outcome{}
		}
		return judgeRecord(a, id, answer.Body())
	}
	code, detail := problemOf(answer)
	if !a.write() && answer.Status == http.StatusNotFound && code == "not_found" {
		return outcome{}
	}
	o := outcome{sure: unknown, status: answer.Status, code: code, problem: strings.TrimSpace(fmt.Sprintf("status %d %s", answer.Status, code))}
	if !a.write() || refused(answer.Status, code) {
		o.sure = nothing
	}
	o.detail = cut(cmp.Or(detail, string(answer.Body())))
	return o
}

// refused reports whether the answer says that nothing was written.
func refused(status int, code string) bool {
	switch {
	case status == http.StatusServiceUnavailable:
		return slices.Contains(refusals, code)
	case status == http.StatusRequestTimeout:
		// One of our server's is about a body that did not arrive. Proxies send
		// it for more.
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
	o := outcome{version: *r.Version, tag: tagOf(r.Name)}
	if r.ID != id {
		o.tag = 0 // another record, whoever wrote that
	}
	if o.version == 0 {
		o.version = -1 // a record is there; 0 would say that there is none
	}
	return o
}

// judgeFailure says what a request without an answer means.
func judgeFailure(a act, f *httpwire.Failure) outcome {
	o := outcome{sure: nothing, problem: string(f.Kind), detail: f.Detail}
	if a.write() && f.Sent {
		o.sure = unknown
	}
	return o
}

// problemOf reads problem details, which all error answers of the API are.
func problemOf(answer httpwire.Answer) (code, detail string) {
	if contentType, _, _ := strings.Cut(string(answer.Header("Content-Type")), ";"); contentType != "application/problem+json" {
		return "", ""
	}
	var p struct{ Code, Detail string }
	_ = json.Unmarshal(answer.Body(), &p) // what is none has no code
	return cut(p.Code), p.Detail
}

// cut keeps what a server says short enough for a report.
func cut(s string) string {
	const limit = 200
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return strings.Join(strings.Fields(s), " ")
}
