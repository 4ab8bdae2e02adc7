package httpapi

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// metrics are the HTTP metrics. All label values are from fixed sets of routes, methods
// and statuses, so a client cannot create new series.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec

	// series caches the children of the two vectors: a lookup by labels would hash
	// three strings, twice, for each request.
	series sync.Map // seriesKey -> *series
}

type seriesKey struct {
	route, method string
	status        int
}

type series struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

var durationBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newMetrics(reg prometheus.Registerer, inFlight func() float64) (*metrics, error) {
	serving := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "aside_http_requests_in_flight",
		Help: "Requests in flight.",
	}, inFlight)
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aside_http_requests_total",
			Help: "Finished requests by route, method and status. Code 499: the client closed the connection before the response.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "aside_http_request_duration_seconds",
			Help:    "Time from the request header to the end of the response, by route and method. Streams, such as those of the page, are not in it.",
			Buckets: durationBuckets,
		}, []string{"route", "method"}),
	}
	for _, c := range []prometheus.Collector{serving, m.requests, m.duration} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(route, method string, status int, took time.Duration, stream bool) {
	if route == "" {
		route = "none"
	}
	key := seriesKey{route, knownMethod(method), status}
	v, ok := m.series.Load(key)
	if !ok {
		v, _ = m.series.LoadOrStore(key, &series{
			requests: m.requests.WithLabelValues(key.route, key.method, strconv.Itoa(status)),
			duration: m.duration.WithLabelValues(key.route, key.method),
		})
	}
	s := v.(*series)
	s.requests.Inc()
	if !stream {
		s.duration.Observe(took.Seconds())
	}
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// ObserveStore returns store with metrics: it registers the histogram
// aside_store_duration_seconds, by operation, with reg. It calls also after each call of
// the store, see todo.Observe.
func ObserveStore(store todo.Store, reg prometheus.Registerer, also ...func(op string, took time.Duration, err error)) (todo.Store, error) {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "aside_store_duration_seconds",
		Help:    "Duration of calls to the primary store, by operation and result. A missing record and a failed precondition count as success.",
		Buckets: durationBuckets,
	}, []string{"op", "answered"})
	if err := reg.Register(h); err != nil {
		return nil, err
	}
	return todo.Observe(store, func(op string, took time.Duration, err error) {
		h.WithLabelValues(op, strconv.FormatBool(todo.Answered(err))).Observe(took.Seconds())
		for _, f := range also {
			f(op, took, err)
		}
	}), nil
}

func metricsHandler(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true})
}
