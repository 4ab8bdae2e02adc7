package dashboard

import (
	"context"
	"net/http"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/sse"
)

// Handler returns the handler of GET /page/config and GET /page/events.
func (d *Dashboard) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page/config", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(d.config)
	})
	mux.HandleFunc("GET /page/events", func(w http.ResponseWriter, r *http.Request) {
		httpapi.StreamProblem(w, d.streams, d.streams.Serve(w, r, d.send))
	})
	return mux
}

// send sends the history and then every sample.
func (d *Dashboard) send(ctx context.Context, st *sse.Stream) error {
	history, events, leave, err := d.follow()
	defer leave()
	if err != nil {
		return err
	}
	if err := st.Send("history", history.data); err != nil {
		return err
	}
	seen := history.count
	history.data = nil // it is large, and the stream may live for days
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil // it was too slow
			}
			if e.count <= seen {
				continue // the history has it
			}
			if err := st.Send("sample", e.data); err != nil {
				return err
			}
		}
	}
}
