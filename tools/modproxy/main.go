// Command modproxy writes the modules of this repository, as they are now, into a
// directory that the go command can use as a module proxy: what a user of a
// release would get, before there is one.
//
//	modproxy [-sums] DIR VERSION MODULE-DIR...
//	GOPROXY=file://DIR,https://proxy.golang.org GONOSUMDB=github.com/asidecache/aside,... go get ...
//
// A module is made of its files that Git knows or would not ignore. With -sums it
// prints the lines that a go.sum has of these modules.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

func main() {
	sums := flag.Bool("sums", false, "print the lines for a go.sum")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: modproxy [-sums] DIR VERSION MODULE-DIR...") }
	flag.Parse()
	if flag.NArg() < 3 {
		flag.Usage()
		os.Exit(2)
	}
	lines, err := run(flag.Arg(0), flag.Arg(1), flag.Args()[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "modproxy:", err)
		os.Exit(1)
	}
	if *sums {
		fmt.Print(lines)
	}
}

// run writes the modules and returns their lines for a go.sum.
func run(proxy, version string, dirs []string) (string, error) {
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return "", fmt.Errorf("git ls-files: %w", err)
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if _, err := os.Lstat(name); err == nil { // Git also lists what was deleted and not committed
			files = append(files, name)
		}
	}
	var sums strings.Builder
	for _, dir := range dirs {
		sum, err := write(proxy, version, path.Clean(filepath.ToSlash(dir)), files)
		if err != nil {
			return "", fmt.Errorf("%s: %w", dir, err)
		}
		sums.WriteString(sum)
	}
	return sums.String(), nil
}

// write puts one module into the proxy and returns its two lines for a go.sum.
// files are those of the whole repository.
func write(proxy, version, dir string, files []string) (string, error) {
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", err
	}
	name := modfile.ModulePath(gomod)
	escaped, err := module.EscapePath(name)
	if err != nil {
		return "", err
	}
	at := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", err
	}
	info, err := json.Marshal(map[string]string{"Version": version, "Time": time.Now().UTC().Format(time.RFC3339)})
	if err != nil {
		return "", err
	}
	for ext, content := range map[string][]byte{".info": info, ".mod": gomod} {
		if err := os.WriteFile(filepath.Join(at, version+ext), content, 0o644); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(at, "list"), []byte(version+"\n"), 0o644); err != nil {
		return "", err
	}
	archive := filepath.Join(at, version+".zip")
	f, err := os.Create(archive)
	if err != nil {
		return "", err
	}
	err = zip.Create(f, module.Version{Path: name, Version: version}, contents(dir, files))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	zipSum, err := dirhash.HashZip(archive, dirhash.DefaultHash)
	if err != nil {
		return "", err
	}
	modSum, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(gomod)), nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", name, version, zipSum, name, version, modSum), nil
}

// contents are the files of the module in dir: not those of modules inside it, and
// the repository's licence where the module has none, as the public proxy does it.
func contents(dir string, files []string) []zip.File {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	var nested []string
	for _, f := range files {
		if path.Base(f) == "go.mod" && path.Dir(f) != dir && strings.HasPrefix(f, prefix) {
			nested = append(nested, path.Dir(f)+"/")
		}
	}
	var found []zip.File
	licence := false
	for _, f := range files {
		inner, ok := strings.CutPrefix(f, prefix)
		if !ok || slices.ContainsFunc(nested, func(n string) bool { return strings.HasPrefix(f, n) }) {
			continue
		}
		licence = licence || inner == "LICENSE"
		found = append(found, file{inner, f})
	}
	if !licence {
		found = append(found, file{"LICENSE", "LICENSE"})
	}
	return found
}

// file is one file: its name in the module, and on disk.
type file struct{ inner, disk string }

func (f file) Path() string                 { return f.inner }
func (f file) Lstat() (fs.FileInfo, error)  { return os.Lstat(f.disk) }
func (f file) Open() (io.ReadCloser, error) { return os.Open(f.disk) }
