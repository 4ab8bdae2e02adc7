// Package alertmanager holds nothing but a test: Alertmanager's own code reads the example
// of its configuration, which cmd/aside/internal/monitoring makes. It is a module of its
// own since that code needs many others.
package alertmanager
