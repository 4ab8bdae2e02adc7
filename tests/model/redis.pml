/* Redis: the string that stands for the key, its tracking, and the scripts of redisl2. Each script is one step. */

mtype = { ABSENT, VALUE, LEASE, FENCE, GRANTED, WAITED, PUBLISHED, REMOVED, OTHERS, GONE, ALONE };

mtype key = ABSENT;
byte held;		/* the version in a value, the token of a lease */
byte fences;		/* the tokens in a fence that have not expired */
bool shared;		/* the fence was touched by more than one writer */
#if defined(SINGLES) || defined(NEWER)
byte crowd;		/* writers who have no record of their own in the fence: its common record, or its key, outlasts them */
#define CROWD crowd
#else
#define CROWD 0
#endif
#ifdef NEWER
bool opaque;		/* the fence is of a format that only node 1 can read */
#define OPAQUE_TO(n) (opaque && (n) == 0)
#else
#define OPAQUE_TO(n) false
#endif
#if defined(OVER) || defined(STALE)
byte carried;		/* in a lease: the version in the value that it was granted over and that has not expired, or 0 */
#define CARRIES
#define CARRIED carried
#else
#define CARRIED 0
#endif
#if defined(LEFTOVERS) && LEFTOVERS
bool endless;		/* the lease has no end, or one far away */
#define ENDLESS endless
#else
#define ENDLESS false
#endif

#ifdef FEED
byte newest;		/* in a fence: the newest version that the feed has told of while it stands */
bool published;		/* the value was stored by the release of the writer that made it */
#define OLD_TO_FENCE(v) ((v) < newest || DELETED(v) && newest)	/* an absence has no version */
#else
#define OLD_TO_FENCE(v) false
#endif
bool ahead;		/* of a script: the node had news on their way before; false between steps */
#ifdef NOLOOP
byte by;		/* of a script: whose it is; 0 between steps */
#endif
byte mayCommit;		/* writers whose change the primary may yet apply */

/* A fence outlasts the time in which the primary applies its write. */
#if defined(LOSS) || defined(RESTART) || defined(SHORT_FENCE)
#define MAY_END fences
#else
#define MAY_END (fences & ~mayCommit)
#endif
#ifdef COMMON_ENDS_FIRST
#define CROWD_MAY_END (CROWD & ~mayCommit)
#else
#define CROWD_MAY_END (CROWD && !(CROWD & mayCommit))
#endif

#ifdef ONE_TOKEN
#define TOKEN(r) READER_NODE(r)
#elif defined(TAKEOVER_KEEPS_TOKEN)
byte taken[READERS];	/* the token of a lease that was taken over as it stood, plus 1 */
#define TOKEN(r) (taken[r] -> taken[r] - 1 : (r))
#else
#define TOKEN(r) (r)
#endif

/* A change. It ends all tracking of the key, and all who tracked it are told, even the node that made the change: its own
   news comes after the answer. */
#ifdef NOLOOP
#define TELLS(n) (tracked[n] && by != n)
#else
#define TELLS(n) tracked[n]
#endif
inline changed()
{
	pushed[0] = pushed[0] || TELLS(0);
	pushed[1] = pushed[1] || TELLS(1);
	tracked[0] = false; tracked[1] = false
}

inline set(kind, x)
{
	key = kind; held = x; fences = 0; shared = false;
#ifdef FEED
	newest = 0; published = false;
#endif
#if defined(SINGLES) || defined(NEWER)
	crowd = 0;
#endif
#ifdef NEWER
	opaque = false;
#endif
#if defined(LEFTOVERS) && LEFTOVERS
	endless = false;
#endif
#ifdef CARRIES
	carried = 0;
#endif
	changed()
}

/* Every script begins by looking at the key. What has expired by then is gone. */
inline look(n)
{
	ahead = pushed[n];
#ifdef NOLOOP
	by = n;
#endif
	if
	:: true
	:: key == VALUE || key == LEASE && !ENDLESS -> set(ABSENT, 0); printf("redis: the entry has expired\n")
#ifdef CARRIES
	:: carried -> carried = 0; printf("redis: what the lease carries has expired\n")
#endif
	:: MAY_END || CROWD_MAY_END ->
		do
		:: MAY_END & 1 -> fences = fences & ~1; printf("redis: the fence of writer 0 has ended\n")
		:: MAY_END & 2 -> fences = fences & ~2; printf("redis: the fence of writer 1 has ended\n")
		:: MAY_END & 4 -> fences = fences & ~4; printf("redis: the fence of writer 2 has ended\n")
#if defined(SINGLES) || defined(NEWER)
		:: CROWD_MAY_END -> crowd = 0; printf("redis: the fence of the writers without records has ended\n")
#endif
		:: true -> break
		od;
		if
		:: !fences && !CROWD -> set(ABSENT, 0)
		:: else
		fi
	fi
}

#ifdef RESTART
bool saved;		/* there is a snapshot: */
mtype savedKey;
byte savedHeld, savedFences;
bool savedShared;

inline save()
{
	saved = true;
	savedKey = key; savedHeld = held; savedFences = fences; savedShared = shared;
	printf("redis: saves a snapshot\n")
}

/* The server starts again from its snapshot. Nobody is told of changes any more, and every node loses its connection. The
   first node that comes clears the server before it runs a script there: no entry is left, and nobody may publish over a fence. */
inline starts_from_snapshot()
{
	saved = false;
	tracked[0] = false; tracked[1] = false;
	pushed[0] = true; pushed[1] = true;	/* by the loss of the connection */
#ifdef RESTART_TRUSTED
	key = savedKey; held = savedHeld; fences = savedFences; shared = savedShared;
#else
	key = (savedKey == FENCE -> FENCE : ABSENT); held = 0; fences = savedFences;
#ifdef RESTART_UNMARKED
	shared = savedShared;
#else
	shared = (savedKey == FENCE);
#endif
#endif
	savedKey = ABSENT; savedHeld = 0; savedFences = 0; savedShared = false;
	printf("redis: starts again from its snapshot: %e %d\n", key, held)
}
#endif

/* A command that reads has the server track the key; SET, and GETEX, which looks as if it wrote, do not. So a script that
   leaves the key with something to hear of reads it (EXISTS), or its node would not be told of the next change. */
#ifndef UNWATCHED
#define UNWATCHED NONE
#endif
#define NONE    0
#define FOUND   1
#define FILL    2
#define PUBLISH 3
#define LEASED  4	/* with what the lease carries */
inline watch(n, script)
{
	tracked[n] = tracked[n] || (script != UNWATCHED && MATTERS(n))
}

/* The server has run a script of a process, and everything that it sent to the node before comes before the answer. */
inline answers(p, n)
{
#ifndef ANY_ORDER
	behind = behind & ~BIT(p) | (ahead && pushed[n] -> BIT(p) : 0);
#endif
#ifdef NOLOOP
	by = 0;
#endif
	ahead = false
}
#define ANSWERED(p) (!(behind & BIT(p)))

inline grant(r, n)
{
	if
	:: key == LEASE && held != TOKEN(r) && !ENDLESS -> broken(P4)	/* its holder's load would not be the only one */
	:: else
	fi;
#ifdef TAKEOVER_KEEPS_TOKEN
	taken[r] = (key == LEASE && endless -> held + 1 : 0);
#endif
	got = GRANTED; set(LEASE, 0); held = TOKEN(r)
}

#ifdef CARRIES
/* A lease over the value that is there: a stale one, or one that a node refreshes. */
inline grant_over(r, n, v)
{
	v = held; grant(r, n); carried = v; v = 0
}
#endif

inline acquire_lua(r, n, got, v)
{
	look(n);
	if
	:: key == VALUE -> got = VALUE; v = held; watch(n, FOUND)
#ifdef STALE
	:: key == VALUE -> stale = held; grant_over(r, n, v)	/* it is about to expire */
#elif defined(OVER)
	:: key == VALUE -> grant_over(r, n, v)	/* LeaseRequest.Over */
#endif
#ifdef CARRIES
	:: key == LEASE && held != TOKEN(r) && !ENDLESS && carried -> got = VALUE; v = carried; watch(n, LEASED)
#endif
#ifdef LEASE_OVER
	:: key == LEASE -> grant(r, n)
#else
#ifdef NO_TAKEOVER
	:: key == LEASE && held != TOKEN(r) && ENDLESS -> broken(P5)	/* nobody would ever fill the key again */
#else
	:: key == LEASE && held != TOKEN(r) && ENDLESS -> grant(r, n)
#endif
	:: key == LEASE && held != TOKEN(r) && !ENDLESS -> got = LEASE; watch(n, FOUND)
	:: key == LEASE && held == TOKEN(r) -> got = GRANTED	/* a retry of ours */
#endif
#ifdef OPAQUE_ABSENT
	:: key == FENCE && OPAQUE_TO(n) -> grant(r, n)
	:: key == FENCE && !OPAQUE_TO(n) -> got = FENCE
#else
	:: key == FENCE -> got = FENCE
#endif
	:: key == ABSENT -> grant(r, n)
	fi
}

inline fill_lua(r, n, v, ok)
{
	look(n);
	if
#ifdef NO_CAS
	:: true ->
#elif defined(ANY_LEASE)
	:: key == LEASE ->
#elif defined(WAIT_FILLS)
	:: key == LEASE && held == TOKEN(r) || got == WAITED && key != FENCE ->
#else
	:: key == LEASE && held == TOKEN(r) ->
#endif
		ok = true; set(VALUE, v);
		watch(n, FILL)
	:: else -> ok = false
	fi
}

inline abandon_lua(r, n, restore, drop)
{
	look(n);
	if
#ifdef CARRIES
	:: key == LEASE && held == TOKEN(r) && !restore && CARRIED && !drop ->
		set(VALUE, carried)
#endif
#ifdef RESTORE_NO_CAS
	:: restore ->
#else
	:: key == LEASE && held == TOKEN(r) && restore ->
#endif
		set(VALUE, restore)
	:: key == LEASE && held == TOKEN(r) && !restore && !(CARRIED && !drop) -> set(ABSENT, 0)
	:: else
	fi
}

/* A writer's record in a fence that it can read. The code has room for 32, the model for one or none: then the others that
   filled the room have been released, or have ended. */
#if defined(SINGLES) && SINGLES == 1
#define FULL (fences != 0)
#else
#define FULL true
#endif
inline record(w, n)
{
#ifdef SINGLES
	if
	:: !FULL -> fences = fences | BIT(w)
#ifdef COMMON_NONE
	:: FULL
#else
	:: FULL -> crowd = crowd | BIT(w); shared = true
#endif
	fi
#else
	fences = fences | BIT(w)
#endif
#ifdef NEWER
	; opaque = (n == 1)
#endif
}

inline fence_lua(w, n)
{
	look(n);
	if
#ifdef FENCE_SPARES_LEASE
	:: key == LEASE && CARRIED
#endif
#ifndef OPAQUE_REPLACED
	:: key == FENCE && OPAQUE_TO(n) ->	/* all that can be done with it: set the mark, lengthen the key's life */
#ifndef OPAQUE_UNMARKED
		shared = true;
#endif
#if defined(NEWER) && !defined(OPAQUE_SHORT)
		crowd = crowd | BIT(w);
#endif
		changed()
#endif
	:: key == FENCE && !OPAQUE_TO(n) ->
		shared = true;
		record(w, n);
		changed()
#ifdef FENCE_SPARES_LEASE
	:: key != FENCE && !(key == LEASE && CARRIED) -> set(FENCE, 0); record(w, n)
#else
	:: else -> set(FENCE, 0); record(w, n)
#endif
	fi
}

#if defined(RELEASE_KEEPS_LEASE)
#define REMOVES (key == VALUE)
#elif defined(RELEASE_KEEPS_VALUE)
#define REMOVES (key == LEASE)
#else
#define REMOVES (key == VALUE || key == LEASE)	/* of what is not there nobody is told */
#endif
#ifdef RELEASE_FIRST
#define OTHERS_STAND 0
#else
#define OTHERS_STAND ((fences & ~BIT(w)) || COMMON)
#endif
#if defined(SINGLES) && !defined(COMMON_RELEASED)
#define COMMON crowd
#elif defined(SINGLES)
#define COMMON (crowd && !(crowd & BIT(w)))
#else
#define COMMON 0
#endif
#ifdef PUBLISH_SHARED
#define MAY_PUBLISH (publish && (fences & BIT(w)) && !OLD_TO_FENCE(v))
#else
#define MAY_PUBLISH (publish && (fences & BIT(w)) && !OLD_TO_FENCE(v) && !shared)
#endif

inline release_lua(w, n, publish, v, got)
{
	look(n);
	if
	:: key != FENCE && REMOVES -> got = GONE; set(ABSENT, 0)
	:: key != FENCE && !REMOVES -> got = GONE
#ifdef OPAQUE_RELEASED
	:: key == FENCE && OPAQUE_TO(n) -> got = REMOVED; set(ABSENT, 0)
#else
	:: key == FENCE && OPAQUE_TO(n) -> got = OTHERS
#endif
#ifdef NEWER
#ifdef OPAQUE_OWNER
#define LEAVES false
#else
#define LEAVES (n == 1 && opaque && shared)	/* the mark may be of one who left no record */
#endif
	:: key == FENCE && LEAVES ->
		got = OTHERS;
		fences = fences & ~BIT(w); crowd = crowd | BIT(w); changed()
#else
#define LEAVES false
#endif
	:: key == FENCE && !OPAQUE_TO(n) && !LEAVES && OTHERS_STAND ->
		got = (fences & BIT(w) || COMMON -> OTHERS : GONE);
		fences = fences & ~BIT(w); shared = true; changed()
	:: key == FENCE && !OPAQUE_TO(n) && !LEAVES && !OTHERS_STAND && MAY_PUBLISH ->
		got = PUBLISHED; set(VALUE, v);
#ifdef TOKENS
		published = true;
#endif
		watch(n, PUBLISH)
	:: key == FENCE && !OPAQUE_TO(n) && !LEAVES && !OTHERS_STAND && !MAY_PUBLISH -> got = REMOVED; set(ABSENT, 0)
	fi
}

#ifdef OUTSIDE
/* Cache.Invalidate's script. */
inline invalidate_lua(n)
{
	look(n);
	if
	:: key == FENCE -> shared = true; changed()
	:: key != FENCE && REMOVES -> set(ABSENT, 0)
	:: key != FENCE && !REMOVES
	fi
}
#endif
