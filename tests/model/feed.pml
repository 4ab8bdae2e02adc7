/* The feed of changes: the primary's log (driver.Feed), the follower on each node (internal/follower), and what Redis does
   for it (driver.Fed). A follower takes a change from the stream and tells Redis of it in one step: that it had the change
   in its hands for a while makes no difference to anybody. */

#ifndef FOLLOWERS	/* nodes that may lead: node 0, or both */
#define FOLLOWERS 1
#endif
#ifndef TAKEOVERS	/* how often the leadership ends while the leader lives: it was stopped, or Redis has lost its lease */
#define TAKEOVERS 0
#endif

/* --- The primary --- */

#ifdef GAP
byte gaps = 1;
byte gone = 1;		/* the log has no changes up to this one any more: nobody can open a position before it */
#else
#define gone 1
#endif

/* Stream.Next returns a change when every read sees it. */
#ifdef FEED_TELLS_EARLY
#define TELLABLE db
#else
#define TELLABLE SEEN
#endif
/* Feed.Open without a position: what it leaves out, every read sees. */
#ifdef NOW_UNSEEN
#define NOW db
#else
#define NOW SEEN
#endif

/* --- What a follower has --- */

byte pos[2];		/* the position up to which it has handled the changes of its stream; 0: it has no stream */
bool clearing[2];	/* it has opened the stream at "now", and has yet to clear the cache */
bool lost[2];		/* Redis may have lost its latest commands since the stream was opened */

/* --- What is in Redis beside the entries --- */

#ifdef UNFED		/* nobody has followed the feed before */
byte leader = NOBODY;
#else
byte leader;		/* who has the lease of the leader */
#endif
byte takeovers = TAKEOVERS;

/* The leader keeps its positions, each with its age, some time after it has handled what is before them. Whoever opens a
   stream takes one that is a minute older than the newest. */
byte back;		/* that one; 0: there is none */
#ifdef FLUSH
byte oldest[2];		/* the same in the memory of a leader */
#define MINE(n) oldest[n]
#else
#define MINE(n) back	/* what the leader has not stored yet, the next one does not need */
#endif
#if defined(NEW_AT_NEWEST) || defined(AGE_BY_NOW)
#define NEWEST
byte kept, savedKept;	/* the newest of them */
#endif
#ifdef NEW_AT_NEWEST
#define PLACE(n) kept
#else
#define PLACE(n) MINE(n)
#endif
#define MAY_LEAD(n) (leader == (n) || leader == NOBODY || !up[leader] || takeovers)

/* F2 to F5: what is before the position of a stream has been seen to. It has not been while a leader has yet to clear, or to
   go back after a failover. */
inline claims(n)
{
	fed = (!lost[n] && !clearing[n] && pos[n] > fed -> pos[n] : fed)
}

/* Something older than that is in L1 or in Redis. */
inline broken_feed()
{
	if
#ifdef FAILOVER
	:: !failovers && !saved -> broken(F4)
#endif
#ifdef FLUSH
	:: !flushes -> broken(F2)
#endif
#ifdef GAP
	:: !gaps -> broken(F2)
#endif
#ifdef UNFED
	:: else -> broken(F2)
#else
	:: else ->
		if
		:: leader == 1 -> broken(F5)
		:: else -> broken(F3)
		fi
#endif
	fi
}

/* --- The scripts --- */

/* drop.lua. It need not look whether the entry has expired: whoever comes next does. */
#if defined(FEED_KEEPS_VALUE)
#define STAYS(v) true
#elif defined(TOKENS)
#define STAYS(v) (published && held == (v))	/* its token is the change's writer */
#elif defined(DELETES) && defined(FEED_KEEPS_ABSENCE)
#define STAYS(v) (DELETED(held) || !DELETED(v) && held >= (v))
#elif defined(DELETES)
#define STAYS(v) (DELETED(v) -> DELETED(held) : !DELETED(held) && held >= (v))
#elif defined(FEED_DROPS_SAME)
#define STAYS(v) (held > (v))
#else
#define STAYS(v) (held >= (v))
#endif

inline tell_fence(v)
{
#ifdef FEED_LEAVES_FENCE
	skip
#elif defined(TOKENS) && defined(FEED_FORBIDS_OWN)
	shared = true
#elif defined(TOKENS)
	shared = shared || !maker[v] || !(fences & BIT(maker[v] - 1))
#elif defined(FEED_FORBIDS_OWN)
	newest = (v + 1 > newest -> v + 1 : newest)
#else
	shared = shared || DELETED(v);	/* it has no version to compare with */
	newest = (v > newest -> v : newest)
#endif
}

inline drop_older_lua(v)
{
	if
	:: key == VALUE && !STAYS(v) ->
#ifdef COSTS
		if
#ifdef TOKENS
		:: held >= v && published -> broken(COST)
#else
		:: held >= v && !DELETED(v) -> broken(COST)
#endif
		:: else
		fi;
#endif
		set(ABSENT, 0)
	:: key == VALUE && STAYS(v)
#ifdef FEED_KEEPS_CARRIED
	:: key == LEASE && carried -> set(VALUE, carried)
	:: key == LEASE && !carried -> set(ABSENT, 0)
#elif !defined(FEED_KEEPS_LEASE)
	:: key == LEASE -> set(ABSENT, 0)
#endif
	:: key == FENCE -> tell_fence(v)
	:: else
	fi
}

/* Cache.dropOlderL1, in a cache without L2 */
inline drop_older_in_l1(n, v)
{
	if
#ifdef L1_KEEPS_LOADS
	:: l1[n] && l1[n] < v -> l1[n] = 0
#else
	:: l1[n] < v -> invalidate(n)	/* also what is on its way there */
#endif
	:: else
	fi
}

/* Tier.Clear */
inline clear_lua()
{
	if
#ifdef L1_ONLY
	:: true -> invalidate(0)
#endif
	:: key == VALUE || key == LEASE -> set(ABSENT, 0)
	:: key == FENCE -> shared = true; changed()
	:: else
	fi
}

/* --- What goes wrong --- */

#ifdef FAILOVER
/* The state of a replica that lags. */
byte failovers = 1;
bool saved;
mtype savedKey;
byte savedHeld, savedFences, savedNewest, savedFed, savedAcked, savedLeader;
bool savedShared, savedPublished;

inline saves()
{
	saved = true; failovers--;
	savedKey = key; savedHeld = held; savedFences = fences; savedShared = shared; savedNewest = newest; savedPublished = published;
	savedFed = fed; savedAcked = acked; savedLeader = leader;
#ifdef NEWEST
	savedKept = kept;
#endif
	printf("redis: the replica has got up to here\n")
}

/* What was promised since then is lost. It is promised again when a leader has gone back and has told the changes again. */
inline fails_over()
{
	saved = false;
	key = savedKey; held = savedHeld; fences = savedFences; shared = savedShared; newest = savedNewest; published = savedPublished;
	fed = savedFed; acked = savedAcked; lapsed = BIT(OTHER) - 1; least[0] = 0; least[1] = 0;
#ifndef CLUSTER	/* the keys of the leader are on another server */
	leader = savedLeader;
#ifdef NEWEST
	kept = savedKept;
#endif
#endif
#ifdef NEWEST
	savedKept = 0;
#endif
	savedKey = 0; savedHeld = 0; savedFences = 0; savedShared = false; savedNewest = 0; savedPublished = false;
	savedFed = 0; savedAcked = 0; savedLeader = 0;
	tracked[0] = false; tracked[1] = false;
	pushed[0] = true; pushed[1] = true;	/* by the loss of the connection */
	lost[0] = (pos[0] != 0); lost[1] = (pos[1] != 0);
	printf("redis: the replica is promoted: %e %d\n", key, held)
}
#endif

#ifdef FLUSH
byte flushes = 1;

inline flush()
{
	flushes--;
	set(ABSENT, 0);
	leader = NOBODY; back = 0;
	pushed[0] = true; pushed[1] = true;
	lost[0] = (pos[0] != 0); lost[1] = (pos[1] != 0);
	printf("redis: is flushed\n")
}
#endif

#ifdef GAP
inline loses_history()
{
	gaps--; gone = db;
	printf("primary: has no history before %d any more\n", gone)
}
#endif

/* --- The follower --- */

inline closes(n)
{
	pos[n] = 0; clearing[n] = false; lost[n] = false
#ifdef FLUSH
	; oldest[n] = 0
#endif
}

/* Without a position, or with a gap, the stream is opened at now, and then the cache is cleared. */
inline opens_now(n)
{
#ifdef FLUSH
	oldest[n] = 0;
#endif
	pos[n] = NOW; lost[n] = false;
#ifdef GAP_IGNORED
	clearing[n] = false; claims(n);
#else
	clearing[n] = true;
#endif
#ifdef CLEAR_FIRST
	clear_lua();
	printf("node %d: follower: clears\n", n)
#else
	printf("node %d: follower: opens the feed at now, %d\n", n, pos[n])
#endif
}

inline clears(n)
{
#ifdef CLEAR_FIRST
	pos[n] = NOW;
	printf("node %d: follower: opens the feed at now, %d\n", n, pos[n]);
#else
	clear_lua();
	printf("node %d: follower: clears\n", n);
#endif
	clearing[n] = false; claims(n)
}

/* Follower.stream at a position that is a minute old */
inline opens(n)
{
	if
	:: PLACE(n) < gone -> opens_now(n)
	:: else ->
		pos[n] = PLACE(n); lost[n] = false; clearing[n] = false; claims(n);
		printf("node %d: follower: opens the feed at %d\n", n, pos[n])
	fi
}

/* A position of the leader becomes a minute old. A replica does not lag for so long, and a leader hears of a failover
   sooner. */
#ifndef MINUTES
#define MINUTES 0
#endif
byte minutes = MINUTES;
#if defined(FAILOVER) && !defined(GO_BACK_SHORT)
#define LAGS(n) (saved || lost[n])
#else
#define LAGS(n) lost[n]
#endif
#ifdef POSITION_FIRST
#define KEEPS(n) (pos[n] < TELLABLE -> pos[n] + 1 : pos[n])
#else
#define KEEPS(n) pos[n]
#endif
#ifdef KEPT_BEFORE_CLEAR
#define KEEPING(n) (leader == (n) && pos[n])
#else
#define KEEPING(n) (leader == (n) && pos[n] && !clearing[n])
#endif

proctype follower(byte me)
{
	{
end:	do
	:: atomic {
		!pos[me] && MAY_LEAD(me) ->
		if
		:: leader != me && leader != NOBODY && up[leader] -> takeovers--
		:: else
		fi;
		leader = me; printf("node %d: follower: leads\n", me);
#ifdef FLUSH
		oldest[me] = back;
#endif
		opens(me)
	}
	:: atomic {	/* Follower.handle: Stream.Next, Fed.DropOlder, Stream.Handled */
		pos[me] >= gone && !clearing[me] && pos[me] < TELLABLE ->
		pos[me]++;
#ifdef L1_ONLY
		drop_older_in_l1(me, pos[me]);
#else
		drop_older_lua(pos[me]);
#endif
		claims(me);
		printf("node %d: follower: handles %d\n", me, pos[me])
	}
	:: atomic { pos[me] && pos[me] < gone && !clearing[me] -> opens_now(me) }	/* ErrGap */
	:: atomic { clearing[me] -> clears(me) }
	:: atomic { pos[me] && leader == NOBODY -> leader = me; printf("node %d: follower: still leads\n", me) }
	:: atomic { pos[me] && leader != me && leader != NOBODY -> closes(me); printf("node %d: follower: leads no more\n", me) }
	:: atomic {
		lost[me] ->
#ifdef NO_GO_BACK
		lost[me] = false; claims(me)
#else
		opens(me)
#endif
	}
#if MINUTES
	:: atomic {
		minutes && KEEPING(me) && !LAGS(me) && MINE(me) != KEEPS(me) ->
		minutes--; MINE(me) = KEEPS(me); printf("node %d: follower: has its position %d for a minute\n", me, MINE(me))
	}
#endif
#ifdef FLUSH
	:: atomic { KEEPING(me) && back != oldest[me] -> back = oldest[me]; printf("node %d: follower: keeps the position %d\n", me, back) }
#endif
#ifdef FIRST_TRUSTED
	:: atomic { KEEPING(me) && !MINE(me) -> MINE(me) = pos[me]; printf("node %d: follower: keeps its first position %d\n", me, pos[me]) }
#endif
#ifdef NEWEST
	:: atomic { KEEPING(me) && kept != pos[me] -> kept = pos[me]; printf("node %d: follower: keeps its position %d\n", me, kept) }
#endif
#ifdef AGE_BY_NOW
	:: atomic { !up[leader] && back != kept && !saved -> back = kept; printf("redis: for a minute nobody leads, and so %d is a minute old\n", back) }
#endif
	od
	} unless { atomic { !up[me] -> skip } }
}
