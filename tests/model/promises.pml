/* What docs/reference/guarantees.md promises, as assertions on what readers get and on what the tiers hold at any time. */

/* What a read that begins now must see, and the least that a tier may hold: the newest acknowledged version. In
   most configurations it is even what the primary has committed: then strong reads are linearizable, and what nobody
   acknowledges (the writer died, or does not know the outcome) leaves nothing old behind either, which is P5. With
   WEAK it is only what is promised. */
byte acked;
#ifndef WEAK
#define OWED db
#else
#define OWED acked
#endif
#ifdef FEED
byte fed = 1;	/* the feed has handled all changes up to this version, and nothing older may be read or stored either */
#define CURRENT (OWED > fed -> OWED : fed)
#else
#define CURRENT OWED
#endif
#ifdef FAILOVER
byte lapsed;	/* readers that began and writers that released before a failover: what it has lost is not promised to them */
#define LAPSED(p) (lapsed & BIT(p))
#define HOLDS(p)  lapsed = lapsed & ~BIT(p);
#else
#define LAPSED(p) false
#define HOLDS(p)
#endif

byte least[2];		/* what default reads of the node may not go back behind: what it wrote, and what it has read */
byte unheard[2];	/* changes by the node's own commands that it has no answer to; it is told of them by those alone */

#define TOLD(n) (!pushed[n] && !unheard[n])

bool changedOutside;	/* the record was changed past aside, */
bool heardOutside;	/* and the cache told */

/* No write is under way any more. */
byte ended;
#define QUIET (ended == BIT(WRITERS) - 1 && !mayCommit && changedOutside == heardOutside)

#define OLD_IN_L2(than)    (key == VALUE && held < than || CARRIED && CARRIED < than)
#define OLD_IN_L1(n, than) (l1[n] && l1[n] < than && TOLD(n))

/* A read of node n begins. */
inline begins(n)
{
	begun[n]++;
	HOLDS(me)
	need = (strong -> CURRENT : (TOLD(n) -> CURRENT : 0));
	need = (!strong && least[n] > need -> least[n] : need);
	least[n] = (begun[n] == READERS_OF(n) -> 0 : least[n])
}

inline seen(n, v)
{
	least[n] = (v > least[n] && begun[n] < READERS_OF(n) -> v : least[n])
}

inline checks(v)
{
	if
#ifdef FEED
	:: v < need && !LAPSED(me) && v >= OWED -> broken(F1)
	:: v < need && !LAPSED(me) && v < OWED && strong -> broken(P2)
	:: v < need && !LAPSED(me) && v < OWED && !strong -> broken(P3)
#else
	:: v < need && strong -> broken(P2)
	:: v < need && !strong -> broken(P3)
#endif
	:: else
	fi
}

/* A read of node n returns v. */
inline returns(n, v)
{
	checks(v);
#ifndef WEAK
	seen(n, v)
#endif
}

/* A write of node n returns. */
inline acknowledges(n, v)
{
#ifdef FAILOVER
	if
	:: !LAPSED(READERS + me) -> acked = (v > acked -> v : acked); seen(n, v)
	:: else
	fi
#else
#ifdef WEAK
	acked = (v > acked -> v : acked);
#endif
	seen(n, v)
#endif
}
