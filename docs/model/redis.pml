/* Redis: the string that stands for the key, its tracking, and the scripts of redisl2. Each script is one step. */

mtype = { ABSENT, VALUE, LEASE, FENCE, GRANTED, PUBLISHED, REMOVED, OTHERS, GONE };

mtype key = ABSENT;
byte held;		/* the version in a value, the token of a lease */
byte fences;		/* the tokens in a fence that have not expired */
bool shared;		/* the fence was touched by more than one writer */

byte newest;		/* of the versions that the feed has told a fence */
bool ahead;		/* of a script: the node had news on their way before; false between steps */
#ifdef NOLOOP
byte by;		/* of a script: whose it is; 0 between steps */
#endif
byte mayCommit;		/* writers whose change the primary may yet apply */

/* A fence outlasts the time in which the primary applies its write. */
#if defined(LOSS) || defined(SHORT_FENCE)
#define MAY_END fences
#else
#define MAY_END (fences & ~mayCommit)
#endif

#ifdef ONE_TOKEN
#define TOKEN(r) READER_NODE(r)
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
	key = kind; held = x; fences = 0; shared = false; newest = 0;
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
	:: key == VALUE || key == LEASE -> set(ABSENT, 0); printf("redis: the entry has expired\n")
	:: MAY_END ->
		do
		:: MAY_END & 1 -> fences = fences & ~1; printf("redis: the fence of writer 0 has ended\n")
		:: MAY_END & 2 -> fences = fences & ~2; printf("redis: the fence of writer 1 has ended\n")
		:: MAY_END & 4 -> fences = fences & ~4; printf("redis: the fence of writer 2 has ended\n")
		:: true -> break
		od;
		if
		:: !fences -> set(ABSENT, 0)
		:: else
		fi
	fi
}

/* A command that reads has the server track the key; SET, and GETEX, which looks as if it wrote, do not. So a script that
   leaves the key with something to hear of reads it (EXISTS), or its node would not be told of the next change. */
#ifndef UNWATCHED
#define UNWATCHED NONE
#endif
#define NONE    0
#define FOUND   1
#define FILL    2
#define PUBLISH 3
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
	:: key == LEASE && held != TOKEN(r) -> broken(P4)	/* its holder's load would not be the only one */
	:: else
	fi;
	got = GRANTED; set(LEASE, TOKEN(r))
}

inline acquire_lua(r, n, got, v)
{
	look(n);
	if
	:: key == VALUE -> got = VALUE; v = held; watch(n, FOUND)
#ifdef STALE
	:: key == VALUE -> stale = held; grant(r, n)	/* it is about to expire */
#endif
#ifdef LEASE_OVER
	:: key == LEASE -> grant(r, n)
#else
	:: key == LEASE && held != TOKEN(r) -> got = LEASE; watch(n, FOUND)
	:: key == LEASE && held == TOKEN(r) -> got = GRANTED	/* a retry of ours */
#endif
	:: key == FENCE -> got = FENCE
	:: key == ABSENT -> grant(r, n)
	fi
}

inline fill_lua(r, n, v, ok)
{
	look(n);
	if
#ifdef NO_CAS
	:: true ->
#else
	:: key == LEASE && held == TOKEN(r) ->
#endif
		ok = true; set(VALUE, v);
		watch(n, FILL)
	:: else -> ok = false
	fi
}

inline abandon_lua(r, n, restore)
{
	look(n);
	if
#ifdef RESTORE_NO_CAS
	:: restore ->
#else
	:: key == LEASE && held == TOKEN(r) && restore ->
#endif
		set(VALUE, restore)
	:: key == LEASE && held == TOKEN(r) && !restore -> set(ABSENT, 0)
	:: else
	fi
}

inline fence_lua(w, n)
{
	look(n);
	if
	:: key == FENCE -> shared = true; fences = fences | BIT(w); changed()
	:: else -> set(FENCE, 0); fences = BIT(w)
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
#define OTHERS_STAND (fences & ~BIT(w))
#endif
#ifdef PUBLISH_SHARED
#define MAY_PUBLISH (publish && (fences & BIT(w)) && v >= newest)
#else
#define MAY_PUBLISH (publish && (fences & BIT(w)) && v >= newest && !shared)
#endif

inline release_lua(w, n, publish, v, got)
{
	look(n);
	if
	:: key != FENCE && REMOVES -> got = GONE; set(ABSENT, 0)
	:: key != FENCE && !REMOVES -> got = GONE
	:: key == FENCE && OTHERS_STAND ->
		got = (fences & BIT(w) -> OTHERS : GONE);
		fences = fences & ~BIT(w); shared = true; changed()
	:: key == FENCE && !OTHERS_STAND && MAY_PUBLISH ->
		got = PUBLISHED; set(VALUE, v);
		watch(n, PUBLISH)
	:: key == FENCE && !OTHERS_STAND && !MAY_PUBLISH -> got = REMOVED; set(ABSENT, 0)
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
