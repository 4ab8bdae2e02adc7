// Package dashboard holds nothing but a test: it decodes the dashboard for Grafana, which
// cmd/aside/internal/monitoring makes, with Grafana's own types.
package dashboard
