package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

var errScheme = errors.New(`the PostgreSQL URL must begin with "postgres://" or "postgresql://"`)

// configOf returns the pool's configuration for a URL.
func configOf(rawURL string, opts Options, log *slog.Logger) (*pgxpool.Config, error) {
	if !strings.HasPrefix(rawURL, "postgres://") && !strings.HasPrefix(rawURL, "postgresql://") {
		return nil, errScheme
	}
	if printable.AmbiguousURL(rawURL) {
		return nil, errSecrets
	}
	config, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		return nil, explain(rawURL, err)
	}
	given := settingsOf(rawURL)
	if !given.Has("pool_max_conns") {
		config.MaxConns = cmp.Or(opts.MaxConns, 30)
	}
	if !given.Has("pool_max_conn_idle_time") {
		config.MaxConnIdleTime = idleTime
	}
	if !given.Has("connect_timeout") && os.Getenv("PGCONNECT_TIMEOUT") == "" {
		config.ConnConfig.ConnectTimeout = cmp.Or(opts.ConnectTimeout, 2*time.Second)
	}
	config.PingTimeout = pingTimeout
	if opts.noPing {
		config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	}
	params := config.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = cmp.Or(opts.AppName, "aside")
	}
	params["client_encoding"] = "UTF8"
	config.ConnConfig.OnNotice = noteUnsynced

	// A standby may lack the latest writes, so the cache must not read from it.
	switch attrs := given.Get("target_session_attrs"); attrs {
	case "read-write": // an older name for the primary, which also refuses a read-only database
	default:
		if attrs != "" && attrs != "primary" {
			log.Warn("target_session_attrs in the PostgreSQL URL is ignored: the cache must read from the primary",
				"target_session_attrs", attrs)
		}
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	return config, nil
}

// settingsOf returns the query of a URL that pgx accepts. net/url refuses lists of hosts.
func settingsOf(rawURL string) url.Values {
	_, query, _ := strings.Cut(rawURL, "?")
	query, _, _ = strings.Cut(query, "#")
	v, _ := url.ParseQuery(query)
	return v
}

// secretSettings are the settings of a URL that contain secrets.
var secretSettings = regexp.MustCompile(`(?i)([?&](?:password|sslpassword)=)[^&]*`)

var errSecrets = errors.New("the PostgreSQL URL is invalid in its user or password: " +
	"percent-encode every character of the user and the password that is not a letter or a digit, and every @ after the host")

// explain returns err, the driver's error for a URL, if it cannot contain a secret. The
// driver quotes the URL, and hides what it takes for a password. If a password has an
// unescaped "/" or "@", that can be the wrong part. So explain parses the URL again
// without its secrets. If there is still an error, it returns that. Otherwise the fault is
// in the secrets.
func explain(rawURL string, err error) error {
	scheme, user, rest, _ := printable.SplitURL(rawURL)
	clean := secretSettings.ReplaceAllString(rest, "")
	if user == "" && clean == rest {
		return err
	}
	if _, err := pgxpool.ParseConfig(scheme + "://" + clean); err != nil {
		return err
	}
	return errSecrets
}

// addressOf describes a server for a message, without secrets.
func addressOf(c *pgx.ConnConfig) string {
	return fmt.Sprintf("database %s, user %s", c.Database, c.User)
}
