package telemetry

import (
	"slices"
	"strings"
	"testing"
)

// What is exported, and which values are refused, each with its variable's name and
// without its value. Caught: a protocol that is not spoken, for which the exporter would
// send to a port that does not understand it; a sampler that the SDK would ignore.
func TestRead(t *testing.T) {
	for _, c := range []struct {
		env     string
		want    string
		refused string
	}{
		{env: "", want: ""},
		{env: "OTEL_SERVICE_NAME=x OTEL_TRACES_SAMPLER=rubbish", want: ""},
		{env: "OTEL_TRACES_EXPORTER=none", want: ""},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", want: "traces metrics tracecontext baggage"},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_SDK_DISABLED=True OTEL_TRACES_EXPORTER=jaeger", want: ""},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=https://c OTEL_METRICS_EXPORTER=none", want: "traces tracecontext baggage"},
		{env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c/x", want: "traces tracecontext baggage"},
		{env: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://c/x OTEL_PROPAGATORS=none", want: "metrics"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_PROPAGATORS=tracecontext OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", want: "traces tracecontext"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.1 OTEL_BSP_SCHEDULE_DELAY=100", want: "traces tracecontext baggage"},

		{env: "OTEL_SDK_DISABLED=hunter2", refused: "OTEL_SDK_DISABLED must be true or false"},
		{env: "OTEL_TRACES_EXPORTER=hunter2", refused: "OTEL_TRACES_EXPORTER must be otlp or none"},
		{env: "OTEL_METRICS_EXPORTER=prometheus", refused: "OTEL_METRICS_EXPORTER must be otlp or none; for Prometheus there is /metrics"},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=hunter2:4318", refused: "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=grpc://hunter2:x", refused: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be a URL"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", refused: "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc", refused: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL must be http/protobuf"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=hunter2", refused: "OTEL_TRACES_SAMPLER must be one of"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=NaN", refused: "OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_BSP_SCHEDULE_DELAY=5s", refused: "OTEL_BSP_SCHEDULE_DELAY must be a whole number"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_PROPAGATORS=b3", refused: "OTEL_PROPAGATORS may have"},
	} {
		s, err := read(func(name string) string {
			for v := range strings.FieldsSeq(c.env) {
				if k, v, _ := strings.Cut(v, "="); k == name {
					return v
				}
			}
			return ""
		})
		if c.refused != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.refused) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want %s", c.env, err, c.refused)
			}
			continue
		}
		var got []string
		if s.traces {
			got = append(got, "traces")
		}
		if s.metrics {
			got = append(got, "metrics")
		}
		got = slices.Concat(got, s.propagators)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q %v, want %q", c.env, got, err, c.want)
		}
	}
}
