package asideprom_test

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideprom"
)

// The statistics of a cache, under its name, in a registry of Prometheus.
func ExampleNewCollector() {
	cache, _ := aside.New(aside.Options[int, string]{})
	defer cache.Close(context.Background())

	registry := prometheus.NewRegistry()
	registry.MustRegister(asideprom.NewCollector("users", cache.Stats))
	// http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	loader := aside.LoaderFunc[int, string](func(context.Context, int) (string, error) { return "Ada", nil })
	for range 3 {
		_, _ = cache.Get(context.Background(), 7, loader)
	}
	families, _ := registry.Gather()
	for _, family := range families {
		if family.GetName() == "aside_loads_total" {
			metric := family.GetMetric()[0]
			fmt.Println(family.GetName(), metric.GetLabel()[0].GetValue(), metric.GetCounter().GetValue())
		}
	}
	// Output: aside_loads_total users 1
}
