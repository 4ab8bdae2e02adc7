// Package dashboard takes a sample of the service once a second, keeps those of the last
// fifteen minutes, and sends them to the page as server-sent events. Nodes that share a
// cache announce themselves in it, so that each of them shows all.
package dashboard
