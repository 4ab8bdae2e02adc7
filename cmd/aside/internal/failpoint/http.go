package failpoint

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// message is the JSON form of a Spec in a request and of a Status in a response.
type message struct {
	Name          string `json:"name,omitempty"`
	Action        Action `json:"action,omitempty"`
	ID            string `json:"id,omitempty"`
	For           string `json:"for,omitempty"`
	Times         int    `json:"times,omitempty"`
	IgnoreContext bool   `json:"ignore_context,omitempty"`

	Hits   int  `json:"hits"`
	Held   int  `json:"held"`
	Active bool `json:"active"`
}

func (s *Set) message(name string, st Status) message {
	m := message{
		Name: name, Action: st.Action, ID: st.ID, Times: st.Times, IgnoreContext: st.IgnoreContext,
		Hits: st.Hits, Held: st.Held, Active: st.Active,
	}
	if st.For > 0 {
		m.For = st.For.String()
	}
	return m
}

// Handler returns next with additional routes to arm the points over HTTP:
//
//	PUT    /failpoints/write.after   {"action":"hang","for":"3s","id":"7","times":1,"ignore_context":true}
//	DELETE /failpoints/write.after   disarm it, and release the operations that it holds
//	GET    /failpoints/write.after   its state; with ?hits=1 wait until it has been hit so often
//	GET    /failpoints               the state of all points
func (s *Set) Handler(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.HandleFunc("GET /failpoints", func(w http.ResponseWriter, _ *http.Request) {
		var all []message
		for _, name := range Names() {
			all = append(all, s.message(name, s.Status(name)))
		}
		answer(w, all)
	})
	of := func(h func(w http.ResponseWriter, r *http.Request, name string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			name := r.PathValue("name")
			if !slices.Contains(Names(), name) {
				http.Error(w, "there is no such point", http.StatusNotFound)
				return
			}
			h(w, r, name)
		}
	}
	mux.HandleFunc("GET /failpoints/{name}", of(s.get))
	mux.HandleFunc("PUT /failpoints/{name}", of(s.put))
	mux.HandleFunc("DELETE /failpoints/{name}", of(func(w http.ResponseWriter, _ *http.Request, name string) {
		s.Disarm(name)
		answer(w, s.message(name, s.Status(name)))
	}))
	return mux
}

func (s *Set) get(w http.ResponseWriter, r *http.Request, name string) {
	n := 0
	if given := r.URL.Query().Get("hits"); given != "" {
		var err error
		if n, err = strconv.Atoi(given); err != nil {
			http.Error(w, "hits must be a number", http.StatusBadRequest)
			return
		}
	}
	st, err := s.Await(r.Context(), name, n)
	if err != nil {
		return // the client has left
	}
	answer(w, s.message(name, st))
}

func (s *Set) put(w http.ResponseWriter, r *http.Request, name string) {
	var m message
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	err := in.Decode(&m)
	spec := Spec{Action: m.Action, ID: m.ID, Times: m.Times, IgnoreContext: m.IgnoreContext}
	if err == nil && m.For != "" {
		spec.For, err = time.ParseDuration(m.For)
	}
	if err == nil {
		err = s.Arm(name, spec)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, s.message(name, s.Status(name)))
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
