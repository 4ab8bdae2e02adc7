package mongostore

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// databaseOf returns the database that the path of a valid connection string
// names, or "".
func databaseOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	_, path, _ := strings.Cut(rest, "/")
	if name, err := url.PathUnescape(path); err == nil {
		return name
	}
	return path
}

// secretOptions are the options of a connection string whose values are secret,
// or may hold secrets.
var secretOptions = regexp.MustCompile(`(?i)([?&](?:tlsCertificateKeyFilePassword|sslClientCertificateKeyPassword|proxyPassword|authMechanismProperties)=)[^&]*`)

// explainURI returns err, which the driver gave for uri, if it cannot quote a
// secret. The driver's messages quote what they do not understand, and of a URI
// whose password holds an unescaped "/" or "@" that can be the password. So the
// same URI is parsed without its secrets: a fault elsewhere shows again, and
// if none does, it lies in them.
func explainURI(uri string, err error) error {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return errors.New(`the MongoDB URI must begin with "mongodb://" or "mongodb+srv://"`)
	}
	clean := rest
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		clean = rest[at+1:]
	}
	clean = secretOptions.ReplaceAllString(clean, "")
	if clean == rest {
		return err
	}
	if err := options.Client().ApplyURI(scheme + "://" + clean).Validate(); err != nil {
		return err
	}
	return errors.New("the MongoDB URI is faulty in its user, password or authentication options: " +
		"percent-encode every character of the user and the password that is not a letter or a digit")
}
