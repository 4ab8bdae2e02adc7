package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// draw writes the violation's picture into dir: its operations, with the writes
// that made the versions in them.
func (l *life) draw(v *Violation, dir string) error {
	ops := slices.Clone(v.Ops)
	for _, op := range v.Ops {
		ops = l.withWrite(ops, op)
	}
	_, info := porcupine.CheckOperationsVerbose(record, operations(byCall(ops)), time.Minute)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := create(dir, name(string(v.Promise)+" "+v.Key))
	if err != nil {
		return err
	}
	if err := errors.Join(porcupine.Visualize(record, info, f), f.Close()); err != nil {
		return err
	}
	v.Picture = f.Name()
	return nil
}

func (l *life) withWrite(ops []Op, read Op) []Op {
	if !read.isRead() || read.Version == 0 {
		return ops
	}
	for _, op := range ops {
		if op.Kind == Write && op.Version == read.Version && op.Tag == read.Tag {
			return ops
		}
	}
	for _, w := range l.writes {
		if w.Kind == Write && w.Version == read.Version && w.Tag == read.Tag {
			return append(ops, w.Op)
		}
	}
	return ops
}

// name makes a file name of words.
func name(words string) string {
	const longest = 100
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.':
			return r
		}
		return '-'
	}, words)
	return s[:min(len(s), longest)]
}

// create makes a file that was not there before.
func create(dir, name string) (*os.File, error) {
	for i := 1; ; i++ {
		path := filepath.Join(dir, name+".html")
		if i > 1 {
			path = filepath.Join(dir, fmt.Sprintf("%s-%d.html", name, i))
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}
