package redisl2

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

var _ driver.Tagging = (*Store)(nil)

// Tags implements driver.Tagging.
func (s *Store) Tags(ctx context.Context, req driver.TagRequest) (t driver.TagTable, err error) {
	if err := req.Check(); err != nil {
		return t, err
	}
	renew := 0
	if req.Renew {
		renew = 1
	}
	var names strings.Builder
	for _, tag := range req.Invalidate {
		names.WriteByte(byte(len(tag)))
		names.WriteString(tag)
	}
	a := args{[3]string{
		fmt.Sprintf("%016x%016d%016x%d", req.Known.Epoch, req.Known.Seq, req.Fresh, renew),
		strconv.Itoa(req.Max),
		names.String(),
	}, 3}
	return runApart(ctx, s, tags, req.Key, a, tagTable)
}

// tagTable reads the answer of tags.lua.
func tagTable(m rueidis.RedisMessage) (t driver.TagTable, err error) {
	a, err := m.ToArray()
	if err != nil || len(a) != 4 {
		return t, fmt.Errorf("redisl2: unexpected answer of tags: %d fields, %v", len(a), err)
	}
	epoch, err1 := a[0].ToString()
	seq, err2 := a[1].AsInt64()
	floor, err3 := a[2].AsInt64()
	changed, err4 := a[3].AsStrSlice()
	n, err5 := strconv.ParseUint(epoch, 16, 64)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return t, fmt.Errorf("redisl2: unexpected answer of tags: %w", err)
	}
	t.Epoch, t.Seq, t.Floor = n, uint64(seq), uint64(floor)
	t.Changed = make([]driver.TagNumber, 0, len(changed)/2)
	for i := 0; i+1 < len(changed); i += 2 {
		tag, ok := strings.CutPrefix(changed[i], "t")
		number, err := strconv.ParseFloat(changed[i+1], 64)
		if !ok || err != nil || number < 0 {
			return t, fmt.Errorf("redisl2: unexpected answer of tags: %q has the number %q", changed[i], changed[i+1])
		}
		t.Changed = append(t.Changed, driver.TagNumber{Tag: tag, Number: uint64(number)})
	}
	return t, nil
}

// tagsPrefix reports whether a prefix is that of a table of tags.
func tagsPrefix(prefix string) bool { return strings.HasSuffix(prefix, ":tags:") }

// stepsOnTags try on a key what a table of tags needs.
func stepsOnTags(key string) []step {
	run := func(name string, args ...string) step {
		return step{name: name, args: append([]string{"EVAL", tags.src, "1", key}, args...), key: key}
	}
	command := func(name string, args ...string) step {
		return step{name: name, args: append([]string{name, key}, args...), key: key}
	}
	ask := strings.Repeat("0", 48) + "0"
	return []step{
		command("ZADD", "1", "selftest"),
		command("ZRANGE", "0", "0"),
		command("ZREMRANGEBYSCORE", "0", "1"),
		run("tags", ask, "1", "\x01a"),
		run("tags", ask, "1", "\x01b"), // more tags than there may be
		command("UNLINK"),
	}
}
