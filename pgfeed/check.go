package pgfeed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// serverFacts is what check and identify have found.
type serverFacts struct {
	started     string // when the server was started
	system      uint64
	timeline    uint32
	synchronous string // synchronous_standby_names
	partitioned bool   // the table is
}

// check reports all that keeps the feed from working, and makes the publication.
func (o *opening) check(ctx context.Context, resume bool) error {
	server, err := o.checkServer(ctx)
	if err != nil {
		return err
	}
	t, tableFaults, err := o.checkTable(ctx)
	if err != nil {
		return err
	}
	if t.oid != "" { // a table that cannot be followed is not left so, either
		if err := o.relieve(ctx, t.oid); err != nil {
			return err
		}
	}
	o.facts.partitioned = t.partitioned
	if err := errors.Join(append(server, tableFaults...)...); err != nil {
		return err
	}
	return o.checkPublication(ctx, t, resume)
}

// Check reports what keeps the feed from working until somebody changes the server: its
// settings, the rights of the role, the table. The error has all that it found, and matches
// ErrSettings, ErrRights or ErrTable. It changes nothing, ends no stream, and is nil if it
// could not ask, or only others use up what the feed needs: that may pass.
func (f *Feed) Check(ctx context.Context) error {
	o := &opening{Feed: f}
	defer o.close()
	var err error
	if o.sql, err = f.connect(ctx, false); err != nil {
		return nil
	}
	server, err := o.checkServer(ctx)
	if err != nil {
		return nil
	}
	_, table, err := o.checkTable(ctx)
	if err != nil {
		return nil
	}
	return errors.Join(slices.DeleteFunc(append(server, table...), func(err error) bool { return errors.Is(err, errUsedUp) })...)
}

// usedUp returns the kind of a fault: enough is there, but others use it, or not.
func usedUp(byOthers bool) error {
	if byOthers {
		return errUsedUp
	}
	return ErrSettings
}

// errUsedUp matches ErrSettings too, and has its text.
var errUsedUp = fmt.Errorf("%w", ErrSettings)

func (o *opening) checkServer(ctx context.Context) (faults []error, err error) {
	rows, err := o.query(ctx, `SELECT current_setting('server_version_num')::int, current_setting('wal_level'),
		current_setting('max_replication_slots')::int, (SELECT count(*) FROM pg_replication_slots),
		(SELECT count(*) FROM pg_replication_slots WHERE slot_name IN (%[1]s, %[2]s)),
		current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_replication),
		(SELECT count(*) FROM pg_replication_slots WHERE slot_name = %[1]s AND active),
		current_setting('max_slot_wal_keep_size'), current_setting('synchronous_standby_names'),
		pg_postmaster_start_time(), current_user,
		(SELECT rolreplication OR rolsuper OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(g.oid, 'MEMBER'))
			FROM pg_roles WHERE rolname = current_user)`,
		quote(o.opt.Slot), quote(o.back()))
	if err != nil {
		return nil, err
	}
	text := make([]string, len(rows[0]))
	number := make([]int, len(rows[0]))
	for i, v := range rows[0] {
		text[i] = string(v)
		number[i], _ = strconv.Atoi(text[i]) // 0 for what is no number
	}
	version, level := number[0], text[1]
	maxSlots, slots, ours := number[2], number[3], number[4]
	maxSenders, senders, active := number[5], number[6], number[7]
	keep, user, replication := text[8], text[11], text[12]
	o.facts.synchronous, o.facts.started = text[9], text[10]

	fault := func(kind error, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{kind}, args...)...))
	}
	if version < 150000 {
		fault(ErrSettings, "PostgreSQL %d: 15 or later is needed", version/10000)
	}
	if level != "logical" {
		fault(ErrSettings, "wal_level is %s: ALTER SYSTEM SET wal_level = 'logical'; and restart the server", level)
	}
	needs := 2 - ours
	if o.opt.Temporary {
		needs = 1
	}
	if slots+needs > maxSlots {
		fault(usedUp(maxSlots >= needs), "%d of %d replication slots are used, and the feed needs %d more: ALTER SYSTEM SET max_replication_slots = %d; and restart the server",
			slots, maxSlots, needs, slots+needs)
	}
	if senders-active >= maxSenders {
		fault(usedUp(maxSenders > 0), "%d of %d WAL senders are used: ALTER SYSTEM SET max_wal_senders = %d; and restart the server",
			senders, maxSenders, senders+2)
	}
	if keep == "-1" && !o.opt.AllowUnboundedWAL {
		fault(ErrSettings, "max_slot_wal_keep_size is -1, so the log fills the disk if nobody follows the feed for long: "+
			"ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf(); or set Options.AllowUnboundedWAL")
	}
	if replication != "t" {
		fault(ErrRights, "the role %s may not replicate: as a superuser, ALTER ROLE %s REPLICATION", user, ident(user))
	}
	for name := range strings.FieldsFuncSeq(o.facts.synchronous, func(r rune) bool { return strings.ContainsRune(`, ()"`, r) }) {
		if name == "*" || strings.EqualFold(name, o.opt.Slot) {
			o.opt.Logger.Warn("pgfeed: the feed counts as a synchronous standby: commits may wait for it instead of a real standby; name the standbys in synchronous_standby_names",
				"synchronous_standby_names", o.facts.synchronous, "slot", o.opt.Slot)
		}
	}
	return faults, nil
}

// tableFacts is what checkTable has found.
type tableFacts struct {
	oid         string
	partitioned bool
	full        bool // a replica identity is FULL
}

var integers = []string{"smallint", "integer", "bigint"}

func (o *opening) checkTable(ctx context.Context) (t tableFacts, faults []error, err error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w %s: "+format, append([]any{ErrTable, o.table}, args...)...))
	}
	rows, err := o.query(ctx, `SELECT c.oid, c.relkind, c.relpersistence, c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s`,
		quote(o.table.schema), quote(o.table.name))
	if err != nil {
		return t, nil, err
	}
	if len(rows) == 0 {
		rows, err = o.query(ctx, `SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE lower(c.relname) = lower(%s) AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')`, quote(o.table.name))
		if err != nil {
			return t, nil, err
		}
		hint := ""
		for _, r := range rows {
			hint += "; there is " + string(r[0])
		}
		fault("it is not in the database%s", hint)
		return t, faults, nil
	}
	t.oid = string(rows[0][0])
	kind, persistence := string(rows[0][1]), string(rows[0][2])
	if kind != "r" && kind != "p" {
		fault("it is not a table")
		return t, faults, nil
	}
	t.partitioned = kind == "p"
	if persistence != "p" {
		fault("it is unlogged or temporary, so its changes are not in the log: ALTER TABLE %s SET LOGGED", o.table.sql())
	}
	if string(rows[0][3]) == "t" {
		fault("it has children by INHERITS, which the feed does not follow: use partitions")
	}
	column := func(name, option string) (kind string, deterministic, ok bool, err error) {
		rows, err := o.query(ctx, `WITH RECURSIVE base AS (
				SELECT t.oid, t.typtype, t.typbasetype FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
				WHERE a.attrelid = %[1]s AND a.attname = %[2]s AND a.attnum > 0 AND NOT a.attisdropped
				UNION ALL SELECT t.oid, t.typtype, t.typbasetype FROM base JOIN pg_type t ON t.oid = base.typbasetype WHERE base.typtype = 'd')
			SELECT format_type((SELECT oid FROM base WHERE typtype <> 'd'), NULL), a.attgenerated <> '',
				coalesce((SELECT collisdeterministic FROM pg_collation l WHERE l.oid = a.attcollation), true)
			FROM pg_attribute a WHERE a.attrelid = %[1]s AND a.attname = %[2]s AND a.attnum > 0 AND NOT a.attisdropped`, t.oid, quote(name))
		if err != nil {
			return "", false, false, err
		}
		if len(rows) == 0 {
			fault("it has no column %q (Options.%s)", name, option)
			return "", false, false, nil
		}
		if string(rows[0][1]) == "t" {
			fault("the column %q (Options.%s) is generated, and such columns are not in the log", name, option)
		}
		return string(rows[0][0]), string(rows[0][2]) == "t", true, nil
	}
	keyType, deterministic, ok, err := column(o.opt.Key, "Key")
	if err != nil {
		return t, nil, err
	}
	if ok && o.opt.KeyOf == nil {
		if !slices.Contains(append(integers, "text", "character varying"), keyType) {
			fault("the key column %q is of type %s: set Options.KeyOf, which makes the cache's key of its text", o.opt.Key, keyType)
		}
		if !deterministic {
			fault("the key column %q has a collation by which different texts are equal, so a cache may know a record by several keys: "+
				"set Options.KeyOf, which makes the same key of all of them", o.opt.Key)
		}
	}
	if o.opt.Version != "" {
		versionType, _, ok, err := column(o.opt.Version, "Version")
		if err != nil {
			return t, nil, err
		}
		if ok && !slices.Contains(integers, versionType) {
			fault("the version column %q is of type %s: smallint, integer or bigint is needed", o.opt.Version, versionType)
		}
	}
	if !ok {
		return t, faults, nil
	}
	identity, err := o.checkIdentity(ctx, &t)
	return t, append(faults, identity...), err
}

// checkIdentity checks that deletes and changes of the key carry the old key. As in PostgreSQL,
// a DEFERRABLE primary key is no replica identity, and columns in INCLUDE are no part of one.
func (o *opening) checkIdentity(ctx context.Context, t *tableFacts) (faults []error, err error) {
	rows, err := o.query(ctx, `WITH RECURSIVE tree AS (SELECT %s::oid AS oid UNION ALL SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
		SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind, c.relpersistence, c.relreplident,
			(SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts-1])
				WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary AND i.indimmediate OR c.relreplident = 'i' AND i.indisreplident)),
			quote_ident(%s),
			c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate)
		FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace`, t.oid, quote(o.opt.Key))
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		name, kind, persistence, identity, columns, key := string(r[0]), string(r[1]), string(r[2]), string(r[3]), string(r[4]), string(r[5])
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("%w %s: "+format, append([]any{ErrTable, name}, args...)...))
		}
		deferrable := string(r[6]) == "t"
		run := fmt.Sprintf("give it the primary key (%[2]s), or ALTER TABLE %[1]s REPLICA IDENTITY USING INDEX i, where i is a unique index on (%[2]s) alone, or ALTER TABLE %[1]s REPLICA IDENTITY FULL", name, key)
		switch {
		case kind == "p": // its identity does not matter, but that of its partitions
			continue
		case kind != "r":
			fault("this partition is in another server, and the feed does not see its changes")
		case persistence != "p":
			fault("this partition is unlogged, so its changes are not in the log: ALTER TABLE %s SET LOGGED", name)
		case identity == "f":
			t.full = true
		case identity == "n":
			fault("its replica identity is NOTHING, so deletes do not tell their key: %s", run)
		case deferrable:
			fault("its primary key is DEFERRABLE, so deletes do not tell their key, and PostgreSQL refuses UPDATE and DELETE while the table is in a publication: make it again without DEFERRABLE: %s", run)
		case columns == "":
			fault("it has no primary key, so deletes do not tell their key: %s", run)
		case columns != key:
			fault("its replica identity is (%s) and not the key column alone, so the old key of a change may not be told: %s", columns, run)
		}
	}
	return faults, nil
}

// relieve takes the list of columns out of the publication if the table has got a replica
// identity that is not in the list: PostgreSQL then refuses every UPDATE and DELETE of it.
func (o *opening) relieve(ctx context.Context, table string) error {
	rows, err := o.query(ctx, `WITH RECURSIVE tree AS (SELECT %[1]s::oid AS oid UNION ALL SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
		SELECT FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = %[1]s AND r.prattrs IS NOT NULL, tree JOIN pg_class c ON c.oid = tree.oid
		WHERE p.pubname = %[2]s AND c.relkind = 'r' AND (SELECT count(*) FROM pg_publication_rel o WHERE o.prpubid = p.oid) = 1 AND (c.relreplident = 'f' OR EXISTS (
			SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts-1])
			WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary AND i.indimmediate OR c.relreplident = 'i' AND i.indisreplident) AND NOT EXISTS (
				SELECT FROM pg_attribute l WHERE l.attrelid = %[1]s AND l.attname = a.attname AND l.attnum::text = ANY (string_to_array(r.prattrs::text, ' ')))))`,
		table, quote(o.opt.Publication))
	if err != nil || len(rows) == 0 {
		return err
	}
	all := fmt.Sprintf("ALTER PUBLICATION %s SET TABLE %s", ident(o.opt.Publication), o.table.sql())
	err = o.exec(ctx, "%s", all)
	if code(err) == insufficientPrivilege {
		return fmt.Errorf("%w: UPDATE and DELETE of %s fail, since the publication %s does not have the columns of its new replica identity; as its owner, run %s: %w",
			ErrRights, o.table, o.opt.Publication, all, err)
	}
	if err == nil {
		o.opt.Logger.Warn("pgfeed: the publication has all columns now: the table has got another replica identity, with which UPDATE and DELETE failed",
			"table", o.table.String(), "publication", o.opt.Publication)
	}
	return err
}

// checkPublication makes the publication, or checks the one that is there.
func (o *opening) checkPublication(ctx context.Context, t tableFacts, resume bool) error {
	name := o.opt.Publication
	var columns []string
	if !t.full { // a list must have all columns of the replica identity
		columns = append(columns, ident(o.opt.Key))
		if o.opt.Version != "" {
			columns = append(columns, ident(o.opt.Version))
		}
	}
	what := o.table.sql()
	if len(columns) > 0 {
		what += " (" + strings.Join(columns, ", ") + ")"
	}
	rows, err := o.query(ctx, `SELECT p.puballtables, p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, p.pubviaroot,
		r.oid IS NOT NULL, r.prqual IS NOT NULL, r.prattrs IS NULL,
		(SELECT count(*) FROM pg_attribute a WHERE a.attrelid = %[2]s AND a.attname IN (%[3]s, %[4]s) AND a.attnum::text = ANY (string_to_array(r.prattrs::text, ' ')))
		FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = %[2]s WHERE p.pubname = %[1]s`,
		quote(name), t.oid, quote(o.opt.Key), quote(o.opt.Version))
	if err != nil {
		return err
	}
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%w: the publication %s "+format, append([]any{ErrSettings, name}, args...)...)
	}
	if len(rows) == 0 {
		if resume {
			return gap("the publication %s is gone", name)
		}
		create := fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)",
			ident(name), what)
		err := o.exec(ctx, "%s", create)
		switch code(err) {
		case insufficientPrivilege:
			return fmt.Errorf("%w: the role %s may not make the publication; as the owner of %s, who needs the right CREATE on the database, run %s: %w",
				ErrRights, o.config.User, o.table, create, err)
		case duplicateObject, uniqueViolation: // by another process, just now: it is as ours would be
			return nil
		}
		o.pubMade = err == nil
		return err
	}
	is := func(i int) bool { return string(rows[0][i]) == "t" }
	listed, _ := strconv.Atoi(string(rows[0][6])) // a count
	needs := max(1, len(columns))
	if t.full && o.opt.Version != "" {
		needs = 2
	}
	switch {
	case is(0):
		return fault("is of all tables, and the feed needs one of its own: set Options.Publication to another name")
	case !is(1):
		return fault("leaves some kinds of changes out: ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate')", ident(name))
	case t.partitioned && !is(2):
		return fault("tells changes as those of partitions: ALTER PUBLICATION %s SET (publish_via_partition_root = true)", ident(name))
	case !is(3):
		return fault("does not have the table %s: set Options.Slot and Options.Publication to other names if it is another cache's, or run: ALTER PUBLICATION %s ADD TABLE %s", o.table, ident(name), what)
	case is(4):
		return fault("leaves rows out: ALTER PUBLICATION %s SET TABLE %s", ident(name), what)
	case !is(5) && listed < needs:
		return fault("leaves columns out: ALTER PUBLICATION %s SET TABLE %s", ident(name), what)
	}
	return nil
}

// definition is what the feed relies on, besides the log.
type definition struct {
	// frame is what decides which changes are told, and how. If it changes, changes may
	// be missing.
	frame string
	// content changes when rows may have got other values without a change in the log:
	// columns, files, partitions.
	content string
}

// lookStatement returns where the log is and the definition. It takes no lock of the
// table, so that it does not wait for an ALTER TABLE.
func (f *Feed) lookStatement() string {
	return fmt.Sprintf(`WITH RECURSIVE root AS (
		SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %[1]s AND c.relname = %[2]s),
	tree AS (SELECT oid FROM root UNION ALL SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
	SELECT pg_current_wal_flush_lsn(),
		concat_ws('|', (SELECT oid FROM root),
			(SELECT concat_ws(',', p.oid, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, r.oid, r.prattrs, r.prqual IS NULL)
				FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = (SELECT oid FROM root) WHERE p.pubname = %[3]s),
			(SELECT string_agg(concat_ws(',', a.attnum, a.attname, a.atttypid, a.attcollation), ';' ORDER BY a.attnum) FROM pg_attribute a
				WHERE a.attrelid = (SELECT oid FROM root) AND a.attname IN (%[4]s, %[5]s) AND NOT a.attisdropped),
			(SELECT string_agg(DISTINCT concat_ws(',', c.relpersistence, c.relreplident,
					(SELECT string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts-1])
						WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary AND i.indimmediate OR c.relreplident = 'i' AND i.indisreplident))), ';')
				FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind <> 'p')),
		concat_ws('|',
			(SELECT string_agg(concat_ws(',', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attisdropped, a.attmissingval::text), ';' ORDER BY a.attnum)
				FROM pg_attribute a WHERE a.attrelid = (SELECT oid FROM root) AND a.attnum > 0),
			(SELECT string_agg(concat_ws(',', c.oid, c.relfilenode), ';' ORDER BY c.oid) FROM tree JOIN pg_class c ON c.oid = tree.oid))`,
		quote(f.table.schema), quote(f.table.name), quote(f.opt.Publication), quote(f.opt.Key), quote(f.opt.Version))
}
