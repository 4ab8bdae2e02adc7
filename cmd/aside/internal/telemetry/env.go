package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// settings are what the environment says.
type settings struct {
	traces, metrics bool
	propagators     []string
}

// The variables that are looked at here. The others of OpenTelemetry's specification are
// read by its SDK and its exporters: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
// OTEL_EXPORTER_OTLP_HEADERS, _COMPRESSION, _CERTIFICATE and so on.
const (
	disabled = "OTEL_SDK_DISABLED"
	endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	protocol = "OTEL_EXPORTER_OTLP_PROTOCOL"
	sampler  = "OTEL_TRACES_SAMPLER"
	ratio    = "OTEL_TRACES_SAMPLER_ARG"
	carriers = "OTEL_PROPAGATORS"
)

// numbers must be whole and not negative. The SDK would take its default for a value
// that it cannot read.
var numbers = []string{
	"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
	"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
	"OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT",
}

var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

// read reads the variables. A value that cannot be meant is an error, since what is not
// exported is missed when it is too late. Values may be secret: what is shown of them
// are words that the specification has, and numbers.
func read(getenv func(string) string) (s settings, err error) {
	get := func(name string) string { return strings.TrimSpace(getenv(name)) }
	switch v := strings.ToLower(get(disabled)); v {
	case "true":
		return s, nil
	case "", "false":
	default:
		return s, fmt.Errorf("%s must be true or false", disabled)
	}
	var errs []error
	for name, on := range map[string]*bool{"TRACES": &s.traces, "METRICS": &s.metrics} {
		errs = append(errs, signal(get, name, on))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(text(a), text(b)) })
	// Both signals may have the same fault.
	errs = slices.CompactFunc(errs, func(a, b error) bool { return text(a) == text(b) })
	if !s.traces && !s.metrics {
		return s, errors.Join(errs...)
	}
	for _, name := range numbers {
		if v := get(name); v != "" {
			if n, err := strconv.Atoi(v); err != nil || n < 0 {
				errs = append(errs, fmt.Errorf("%s must be a whole number, 0 or more", name))
			}
		}
	}
	if v := strings.ToLower(get(sampler)); v != "" && !slices.Contains(samplers, v) {
		errs = append(errs, fmt.Errorf("%s must be one of %s", sampler, strings.Join(samplers, ", ")))
	} else if strings.HasSuffix(v, "traceidratio") && get(ratio) != "" {
		if f, err := strconv.ParseFloat(get(ratio), 64); err != nil || !(f >= 0 && f <= 1) {
			errs = append(errs, fmt.Errorf("%s must be a number from 0 to 1", ratio))
		}
	}
	s.propagators = []string{"tracecontext", "baggage"}
	if v := get(carriers); v != "" {
		s.propagators = nil
		for p := range strings.SplitSeq(v, ",") {
			switch p = strings.TrimSpace(p); p {
			case "tracecontext", "baggage":
				s.propagators = append(s.propagators, p)
			case "none", "":
			default:
				errs = append(errs, fmt.Errorf("%s may have tracecontext, baggage and none, each after a comma", carriers))
			}
		}
	}
	return s, errors.Join(errs...)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// signal says whether traces or metrics are exported: if their exporter is named, or
// their endpoint or that of all signals is.
func signal(get func(string) string, name string, on *bool) error {
	exporter, own := "OTEL_"+name+"_EXPORTER", "OTEL_EXPORTER_OTLP_"+name+"_ENDPOINT"
	switch v := strings.ToLower(get(exporter)); v {
	case "none":
		return nil
	case "":
		if *on = get(endpoint) != "" || get(own) != ""; !*on {
			return nil
		}
	case "otlp":
		*on = true
	default:
		return fmt.Errorf("%s must be otlp or none; for Prometheus there is /metrics", exporter)
	}
	of, v := own, get(own)
	if v == "" {
		of, v = endpoint, get(endpoint)
	}
	if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("%s must be a URL with http or https, such as http://127.0.0.1:4318", of)
	}
	of = "OTEL_EXPORTER_OTLP_" + name + "_PROTOCOL"
	if v = get(of); v == "" {
		of, v = protocol, get(protocol)
	}
	if v != "" && v != "http/protobuf" {
		return fmt.Errorf("%s must be http/protobuf, which collectors take on port 4318: aside speaks no other", of)
	}
	return nil
}
