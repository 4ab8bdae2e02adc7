/* What happens by itself: pushes arrive, writes of dead or ignorant writers are applied, a node dies. */

#ifndef CRASHES
#define CRASHES 1
#endif

inline deliver(n)
{
	invalidate(n);
	printf("node %d: is told that the key has changed\n", n)
}

inline land(w)
{
	if
	:: commits(w); printf("primary: the change of writer %d is applied: %d\n", w, db)
	:: printf("primary: the change of writer %d will never be applied\n", w)
	fi;
	mayCommit = mayCommit & ~BIT(w); adrift = adrift & ~BIT(w)
}

inline crash(n)
{
	up[n] = false;
	invalidate(n);
	flight[n] = NOBODY; tracked[n] = false; least[n] = 0; unheard[n] = 0;
#ifdef ANSWERS
	pending[n] = 0;
#endif
#ifdef FEED
	closes(n);
#endif
	adrift = adrift | (mayCommit & WRITERS_ON(n));
	younger = younger & ~READERS_ON(n); early = early & ~READERS_ON(n);
	i = 0;
	do
	:: i < READERS ->
		if
		:: READER_NODE(i) == n -> RESET(i); followers[i] = 0
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	printf("node %d: dies\n", n)
}

#ifndef LEFTOVERS
#define LEFTOVERS 0
#endif

byte crashes = CRASHES;

proctype world()
{
	byte i;
#ifdef RESTART
	byte saves = 1;
#endif
#if LEFTOVERS
	byte leftovers = LEFTOVERS;
#endif
end:	do
#ifdef FINE
	:: pause -> pause = false
#endif
	:: atomic { pushed[0] -> deliver(0) }
	:: atomic { pushed[1] -> deliver(1) }
	:: atomic { (adrift & 1) && !UNSEEN -> land(0) }
	:: atomic { (adrift & 2) && !UNSEEN -> land(1) }
	:: atomic { (adrift & 4) && !UNSEEN -> land(2) }
#if LEFTOVERS
	:: atomic {
		leftovers && key == ABSENT -> leftovers--;
		if
		:: set(LEASE, ELSEWHERE); printf("redis: a node that is not in this model has leased the key\n")
		:: set(LEASE, NOBODY); endless = true; printf("redis: a dump brings a lease without an end\n")
		fi
	}
	:: atomic { leftovers && key == LEASE && !endless -> leftovers--; endless = true; printf("redis: its clock is set back, so the lease has no end\n") }
#endif
#ifdef RESTART
	:: atomic { saves && !saved -> saves--; save() }
	:: atomic { saved -> starts_from_snapshot() }
#endif
	:: atomic { crashes && up[0] -> crashes--; crash(0) }
	:: atomic { crashes && up[1] -> crashes--; crash(1) }
#ifdef EARLY
	:: atomic { unseen -> unseen = false; printf("primary: reads see %d\n", db) }
#endif
#ifdef FAILOVER
	:: atomic { failovers && !saved && key != ABSENT -> saves() }
	:: atomic { saved -> fails_over() }
#endif
#ifdef FLUSH
	:: atomic { flushes -> flush() }
#endif
#ifdef GAP
	:: atomic { gaps && gone < db -> loses_history() }
#endif
#ifdef FEED
	:: OLD_IN_L2(fed) || OLD_IN_L1(0, fed) || OLD_IN_L1(1, fed) ->
		broken_feed()
#endif
	:: OLD_IN_L2(OWED) -> broken(P1_L2)
	:: OLD_IN_L1(0, OWED) || OLD_IN_L1(1, OWED) -> broken(P1_L1)
#if !defined(LOSS) && !defined(RESTART) && !defined(FEED)
	:: QUIET && (OLD_IN_L2(db) || OLD_IN_L1(0, db) || OLD_IN_L1(1, db)) -> broken(P5)
#endif
	od
}
