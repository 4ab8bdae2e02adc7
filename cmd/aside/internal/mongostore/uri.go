package mongostore

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// databaseOf returns the database in the path of a valid connection string, or "".
func databaseOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	_, path, _ := strings.Cut(rest, "/")
	if name, err := url.PathUnescape(path); err == nil {
		return name
	}
	return path
}

// secretOptions are the options of a connection string that may contain secrets.
var secretOptions = regexp.MustCompile(`(?i)([?&](?:tlsCertificateKeyFilePassword|sslClientCertificateKeyPassword|proxyPassword|authMechanismProperties)=)[^&]*`)

// explainURI returns err, the driver's error for uri, if it cannot contain a secret. The
// driver's messages quote the part that is invalid. If a password has an unescaped "/" or
// "@", that can be the password. So explainURI parses the URI again without its secrets.
// If there is still an error, it returns that. Otherwise the fault is in the secrets.
func explainURI(uri string, err error) error {
	scheme, user, rest, ok := printable.SplitURL(uri)
	if !ok {
		return errors.New(`the MongoDB URI must begin with "mongodb://" or "mongodb+srv://"`)
	}
	clean := secretOptions.ReplaceAllString(rest, "")
	if user == "" && clean == rest {
		return err
	}
	if err := options.Client().ApplyURI(scheme + "://" + clean).Validate(); err != nil {
		return err
	}
	return errSecrets
}

var errSecrets = errors.New("the MongoDB URI is invalid in its user, password or authentication options: " +
	"percent-encode every character of the user and the password that is not a letter or a digit, and every @ after the hosts")
