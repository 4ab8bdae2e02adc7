// Package monitoring has the list of the metrics, the alerts on them, and the panels that
// show them. From these are made, by go generate:
//
//   - docs/reference/metrics.md
//   - deploy/prometheus/aside.rules.yml, and the tests of these rules for promtool
//   - deploy/prometheus/alertmanager.yml
//   - deploy/grafana/aside.json
//
// Only tests import it. They compare the list with what a server exports, and make each
// alert fire by its fault.
package monitoring

//go:generate go test -run ^TestGenerated$ -update .
