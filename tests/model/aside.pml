/* The protocol of aside for one key on two nodes. README.md says what is in this model and what is not. */

#ifndef READERS0	/* readers of node 0, one read each */
#define READERS0 1
#endif
#ifndef READERS1
#define READERS1 1
#endif
#ifndef WRITERS0	/* writers of node 0, one write each */
#define WRITERS0 1
#endif
#ifndef WRITERS1
#define WRITERS1 1
#endif

#define READERS (READERS0 + READERS1)
#define WRITERS (WRITERS0 + WRITERS1)
#define OTHER   (READERS + WRITERS)	/* the process that calls Invalidate */

#define READER_NODE(r) ((r) >= READERS0)
#define WRITER_NODE(w) ((w) >= WRITERS0)

#ifdef TAGS
#include "tags.pml"
#else

/* Sets are bit masks. */
#define BIT(x)  (1 << (x))
#define NOBODY  15
#define ELSEWHERE 14	/* a node that is not in this model */
#define READERS_OF(n) ((n) == 0 -> READERS0 : READERS1)
#define READERS_ON(n) ((n) == 0 -> BIT(READERS0) - 1 : BIT(READERS) - BIT(READERS0))
#define WRITERS_ON(n) ((n) == 0 -> BIT(WRITERS0) - 1 : BIT(WRITERS) - BIT(WRITERS0))

/* An atomic step ends where another goroutine, another node or Redis could make a difference. With FINE there is also a
   pause wherever they can come between without making any; that is how it was checked that they do not. */
#ifdef FINE
bool pause;
#define STEP pause = true; !pause;
#else
#define STEP
#endif

byte db = 1;	/* the version of the record in the primary; its log has all versions up to this one, in this order */
#ifdef EARLY	/* a commit is in the log before reads see it; the next commit of the record waits for that */
bool unseen;
#define UNSEEN unseen
#define SEEN   (db - unseen)	/* what reads get */
#else
#define UNSEEN false
#define SEEN   db
#endif
#ifdef TOKENS
byte maker[8];		/* who made each version: the number of a writer + 1, or 0 */
#endif
#ifdef DELETES
#define DELETED(v) (((v) & 1) == 0)	/* every second change deletes the record */
#else
#define DELETED(v) false
#endif

inline commits(who)
{
	db++
#ifdef EARLY
	; unseen = true
#endif
#ifdef TOKENS
	; maker[db] = (who == NOBODY -> 0 : who + 1)
#endif
}

mtype = { P1_L2, P1_L1, P2, P3, P4, P5, F1, F2, F3, F4, F5, COST };

/* A promise is broken: see promises.pml. */
inline broken(what)
{
	printf("broken: %e\n", what);
	assert(false)
}

#include "node.pml"
#include "redis.pml"
#include "promises.pml"
#include "reader.pml"
#include "writer.pml"
#ifdef FEED
#include "feed.pml"
#endif
#ifdef OUTSIDE
#include "outside.pml"
#endif
#include "world.pml"

init {
	byte i = 0;
	atomic {
		up[0] = true; up[1] = true;
		flight[0] = NOBODY; flight[1] = NOBODY;
		acked = db;
#if defined(FEED) && !defined(UNFED)
		leader = 0; pos[0] = db; back = db;
#ifdef FLUSH
		oldest[0] = db;
#endif
#ifdef NEWEST
		kept = db;
#endif
#endif
		if	/* everything is cold, or the record is in L2 and perhaps in L1 */
		:: true
		:: true ->
#ifndef L1_ONLY
			key = VALUE; held = db; printf("redis: has %d\n", db);
#endif
			if
			:: true
			:: READERS0 -> l1[0] = db; tracked[0] = true; printf("node 0: has %d in L1\n", db)
			fi;
			if
			:: true
			:: READERS1 -> l1[1] = db; tracked[1] = true; printf("node 1: has %d in L1\n", db)
			fi
		fi;
		run world();
		do
		:: i < READERS -> run reader(i); i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < WRITERS -> run writer(i); i++
		:: else -> break
		od;
#ifdef OUTSIDE
		run outside();
#endif
#ifdef FEED
		run follower(0);
#if FOLLOWERS == 2
		run follower(1);
#endif
#endif
		i = 0
	}
}

#endif
