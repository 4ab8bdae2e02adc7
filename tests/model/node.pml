/* What a node has in memory: internal/l1 with its generations, internal/flight with its tickets.

   Of a noted generation the code only ever asks whether it is still the present one, and of two tickets which was first.
   So that, and not a counter, is what the model keeps. */

bool up[2];
byte begun[2];		/* how many of its readers have */

byte l1[2];		/* l1.Tier: the version in it, 0 for none */
byte fresh;		/* readers whose job.gen is L1's present generation */
#ifdef ANSWERS
byte pending[2];	/* Cache.pending holds the key: Redis has not been told of so many writes */
#endif
byte publishing;	/* writers for whose gens in Cache.release that is so */

byte flight[2];		/* flight.Group: the flight that can be joined, by the number of its leader */
bool flightFresh[2];	/* its generation is the present one */

mtype = { LEADING, FLYING, SETTLED, DONE };
#define TRUST_NONE  0
#define TRUST_LOCAL 1
#define TRUST_ALL   2

mtype stage[READERS];	/* flight.Call, 0: there is none */
byte result[READERS];
bool failed[READERS];
#ifdef STALE
bool pastTTL[READERS];	/* Result.Stale */
#endif
byte trust[READERS];
byte followers[READERS];	/* readers who wait for it */
byte younger;		/* of all those, for whom asOf > ticket: the flight's read began after they came */
byte early;		/* for whom ended > ticket: they came before it ended */

byte behind;		/* processes whose answer from Redis comes after a push that is on its way */
bool tracked[2];	/* CLIENT TRACKING: the node is told of the next change */
bool pushed[2];		/* an invalidation is on its way to the node */

/* No reader of the node will come, or come back, and join a flight. */
#if READERS == 1
#define ALL_FOLLOWERS followers[0]
#elif READERS == 2
#define ALL_FOLLOWERS (followers[0] | followers[1])
#elif READERS == 3
#define ALL_FOLLOWERS (followers[0] | followers[1] | followers[2])
#else
#define ALL_FOLLOWERS (followers[0] | followers[1] | followers[2] | followers[3])
#endif
#define LONELY(n) (begun[n] == READERS_OF(n) && !(ALL_FOLLOWERS & READERS_ON(n)))

#define PROCESSES_ON(n) (READERS_ON(n) | (WRITERS_ON(n) << READERS) | ((n) == 0 -> BIT(OTHER) : 0))

/* Whether an invalidation would change anything on the node. A push that would not is taken as delivered, and Redis as
   not tracking the key for the node; it does again once somebody asks for the key. */
#define MATTERS(n) (l1[n] || flightFresh[n] || (fresh & READERS_ON(n)) || (publishing & WRITERS_ON(n)))

inline calm(n)
{
	if
	:: !MATTERS(n) -> tracked[n] = false; pushed[n] = false; behind = behind & ~PROCESSES_ON(n)
	:: else
	fi
}

/* l1.Tier.Invalidate */
inline invalidate(n)
{
	l1[n] = 0;
	fresh = fresh & ~READERS_ON(n);
	publishing = publishing & ~WRITERS_ON(n);
	flightFresh[n] = false;
	tracked[n] = false; pushed[n] = false; behind = behind & ~PROCESSES_ON(n)
}

#ifdef NO_REPLACED
#define REPLACED false
#else
#define REPLACED replaced
#endif

/* Cache.insertL1, l1.Tier.Insert */
inline insertL1(r, n, v)
{
	if
#ifdef NO_GENERATION
	:: true -> l1[n] = v
#else
	:: (fresh & BIT(r)) && !REPLACED -> l1[n] = v
#endif
	:: else
	fi
}

/* Cache.overtakes, l1.Tier.Overtake */
inline overtakes(r, n)
{
	l1[n] = 0;
	fresh = fresh & (~READERS_ON(n) | BIT(r));
	publishing = publishing & ~WRITERS_ON(n);
	flightFresh[n] = (flight[n] == r && (fresh & BIT(r)) && !LONELY(n))
}

/* Cache.overtake */
inline overtake(r, n)
{
	if
#ifdef NO_OVERTAKE
	:: false -> skip
#else
	:: strong || got == FENCE || got == WAITED || flight[n] != r -> overtakes(r, n)
#endif
	:: else
	fi
}

#ifdef STALE
#define RESET(f) stage[f] = 0; result[f] = 0; failed[f] = false; trust[f] = 0; pastTTL[f] = false
#else
#define RESET(f) stage[f] = 0; result[f] = 0; failed[f] = false; trust[f] = 0
#endif

/* A flight that is over and has nobody left in it. */
inline forget(f)
{
	if
	:: stage[f] == DONE && !followers[f] -> RESET(f)
	:: else
	fi
}

/* flight.Group.Join as a follower */
inline join(r, f, again)
{
	followers[f] = followers[f] | BIT(r);
	younger = younger & ~BIT(r) | (again && stage[f] != LEADING -> BIT(r) : 0);
	early = early & ~BIT(r) | (again && (stage[f] == SETTLED || stage[f] == DONE) -> BIT(r) : 0)
}

inline unjoin(r, f)
{
	followers[f] = followers[f] & ~BIT(r);
	younger = younger & ~BIT(r);
	early = early & ~BIT(r);
	forget(f)
}

/* job.asOf = flights.Now() */
inline noteAsOf(r)
{
	stage[r] = FLYING;
	younger = younger | followers[r]
}

/* flight.Group.Restart */
inline restart(r, n)
{
	replaced = (flight[n] != r);
	flightFresh[n] = (replaced -> flightFresh[n] : (fresh & BIT(r)) && !LONELY(n))
}

/* flight.Group.Settle */
inline settle(r, n, v, failure)
{
	result[r] = (LONELY(n) -> 0 : v); failed[r] = failure; stage[r] = SETTLED;
	early = early | followers[r]
}

/* flight.Group.Finish */
inline finish(r, n, t)
{
	if
	:: flight[n] == r -> flight[n] = NOBODY; flightFresh[n] = false
	:: else
	fi;
	trust[r] = t; stage[r] = DONE;
	forget(r)
}
