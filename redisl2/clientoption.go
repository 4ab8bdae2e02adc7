package redisl2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

// fromClientOption takes from a program's options what a Store can share with its
// other clients, and refuses what would break the cache.
func fromClientOption(given rueidis.ClientOption) (opt rueidis.ClientOption, err error) {
	for _, f := range []struct {
		set  bool
		name string
		why  string
	}{
		{given.AlwaysRESP2, "AlwaysRESP2", "client tracking, which keeps L1 coherent, needs RESP3"},
		{given.DisableCache, "DisableCache", "it turns client tracking off, which keeps L1 coherent"},
		{given.ClientTrackingOptions != nil, "ClientTrackingOptions", "the Store has tracking options of its own"},
		{given.OnInvalidations != nil, "OnInvalidations", "the Store takes the invalidations itself"},
		{given.NewCacheStoreFn != nil, "NewCacheStoreFn", "the Store has no use for rueidis' own cache"},
		{given.ReplicaOnly, "ReplicaOnly", "the Store reads and writes on masters"},
		{given.SendToReplicas != nil, "SendToReplicas", "a replica may be behind, and tracks other keys than the master"},
		{len(given.Standalone.ReplicaAddress) > 0 || given.Standalone.EnableRedirect, "Standalone", "the Store reads and writes on the master"},
		{given.ConnLifetime != 0, "ConnLifetime", "with each connection that ends, L1 is emptied"},
	} {
		if f.set {
			return opt, fmt.Errorf("%s must not be set: %s", f.name, f.why)
		}
	}
	switch {
	case len(given.InitAddress) == 0:
		return opt, errors.New("InitAddress is empty, want the host:port of a server")
	case given.SelectDB < 0:
		return opt, fmt.Errorf("SelectDB is %d", given.SelectDB)
	case given.Sentinel.MasterSet != "" && given.Dialer.Resolver != nil, given.Sentinel.Dialer.Resolver != nil:
		return opt, errors.New("a Dialer with a Resolver cannot be used with Sentinel: set DialCtxFn instead")
	}
	ownDial := given.DialCtxFn != nil || given.DialFn != nil
	for _, addr := range given.InitAddress {
		if err := checkAddress(addr, ownDial); err != nil {
			return opt, err
		}
	}
	opt = rueidis.ClientOption{
		InitAddress: slices.Clone(given.InitAddress), ShuffleInit: given.ShuffleInit, ForceSingleClient: given.ForceSingleClient,
		SelectDB: given.SelectDB, Username: given.Username, Password: given.Password, AuthCredentialsFn: given.AuthCredentialsFn,
		TLSConfig: given.TLSConfig, Dialer: given.Dialer, DialCtxFn: given.DialCtxFn,
		ClientName: given.ClientName, ClientSetInfo: given.ClientSetInfo, ClientNoEvict: given.ClientNoEvict,
		Sentinel: given.Sentinel, ClusterOption: given.ClusterOption,
		ReadBufferEachConn: given.ReadBufferEachConn, WriteBufferEachConn: given.WriteBufferEachConn,
		MaxFlushDelay: given.MaxFlushDelay, DisableTCPNoDelay: given.DisableTCPNoDelay,
	}
	if dial := given.DialFn; dial != nil { // it goes before DialCtxFn, as in rueidis
		opt.DialCtxFn = func(_ context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
			return dial(addr, d, t)
		}
	}
	return opt, nil
}

// checkAddress finds what is often given instead of an address. Only a dial function
// of the program can know what else it takes.
func checkAddress(addr string, ownDial bool) error {
	if strings.Contains(addr, "://") {
		return errors.New("InitAddress has a URL in it: want host:port there, or set Options.URL")
	}
	if _, _, err := net.SplitHostPort(addr); err != nil && !ownDial {
		return fmt.Errorf("InitAddress: %q is no host:port", addr)
	}
	return nil
}
