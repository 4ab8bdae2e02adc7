/* A caller of Cache.Get or Cache.Read, at either level. If it leads a flight it is also the goroutine that runs it
   (read.go, load.go), and has its own answer when the flight is settled. */

#define NODE READER_NODE(me)

inline leave()
{
	fresh = fresh & ~BIT(me); behind = behind & ~BIT(me); calm(NODE);
	call = 0; v = 0; need = 0; got = 0; strong = false; again = false; replaced = false; ok = false
}

proctype reader(byte me)
{
	byte call, v, need;
	mtype got;
	bool strong, again, replaced, ok;
#ifdef OWES
	bool owes, drops;	/* a lease that it may have been granted, or may not have filled */
#endif
#ifdef FAILS
	byte stale;
#endif
	{
	atomic {	/* Cache.Read, Cache.readL1. The readers of a node are alike, so let them begin in order. */
		begun[NODE] == me - (NODE -> READERS0 : 0);
		if :: strong = true :: strong = false fi;
		begins(NODE);
		if
		:: !strong && l1[NODE] ->
			printf("node %d: reader %d finds %d in L1\n", NODE, me, l1[NODE]);
			returns(NODE, l1[NODE]); leave(); goto out
		:: !strong -> l1[NODE] = 0	/* nothing, or it was evicted */
		:: strong
		fi;
		printf("node %d: reader %d begins, strong %d, must see %d\n", NODE, me, strong, need);
#ifdef ANSWERS
		if
		:: pending[NODE] -> printf("node %d: reader %d reads the primary\n", NODE, me); returns(NODE, db); leave(); goto out
		:: else
		fi;
#endif
enter:		/* Cache.read, flight.Group.Join */
		if
#ifdef JOIN_ANY
		:: flight[NODE] != NOBODY ->
#else
		:: flight[NODE] != NOBODY && flightFresh[NODE] ->
#endif
			call = flight[NODE]; join(me, call, again);
			printf("node %d: reader %d joins the flight of reader %d\n", NODE, me, call)
		:: else ->
			flight[NODE] = me; flightFresh[NODE] = true; stage[me] = LEADING;
			printf("node %d: reader %d leads a flight\n", NODE, me);
			goto lead
		fi;
		/* flight.Call.Wait */
		stage[call] == SETTLED || stage[call] == DONE;
		if
		:: (younger & BIT(me)) || failed[call] && (early & BIT(me)) -> goto take
		:: else
		fi;
		stage[call] == DONE;
		if
		:: failed[call]
		:: !failed[call] && !strong && trust[call] >= TRUST_LOCAL -> goto take
#ifdef NO_ENDED
		:: !failed[call] && strong && trust[call] == TRUST_ALL -> goto take
#else
		:: !failed[call] && strong && trust[call] == TRUST_ALL && (early & BIT(me)) -> goto take
#endif
		:: else
		fi;
		printf("node %d: reader %d cannot use that flight\n", NODE, me);
		unjoin(me, call); call = 0; again = true; goto enter;
take:		/* Cache.answered */
		v = result[call]; ok = !failed[call];
#ifdef STALE
		ok = ok && !(strong && pastTTL[call]);
#endif
		unjoin(me, call); call = 0;
		if
		:: ok -> printf("node %d: reader %d shares %d\n", NODE, me, v); returns(NODE, v)
		:: else -> printf("node %d: reader %d shares the failure\n", NODE, me)
		fi;
		leave(); goto out;
lead:		again = false;
		STEP
		/* Cache.again */
		if
		:: !strong && l1[NODE] ->
			v = l1[NODE];
			printf("node %d: reader %d finds %d in L1 after all\n", NODE, me, v);
			settle(me, NODE, v, false); returns(NODE, v); finish(me, NODE, TRUST_LOCAL); leave(); goto out
		:: else
		fi;
lookUp:		STEP
		/* Cache.lookUp */
		fresh = fresh | BIT(me);
		STEP
		noteAsOf(me); restart(me, NODE);
		STEP
#ifdef L1_ONLY
		got = ALONE; need = 0;
#else
		acquire_lua(me, NODE, got, v); answers(me, NODE);
#endif
		printf("node %d: reader %d asks L2: %e %d\n", NODE, me, got, v);
#ifdef OWES
		if
		:: true
		:: got == GRANTED ->	/* Cache.oweLease; what is loaded is stored nowhere */
			got = FENCE; owes = true; printf("node %d: reader %d has no answer\n", NODE, me)
		fi;
#endif
		if
		:: got == VALUE -> checks(v); need = 0
		:: got == GRANTED -> need = 0; unheard[NODE]++	/* a load brings what the primary has then */
		:: got == FENCE ->
			need = 0;
			fresh = fresh & ~BIT(me); calm(NODE)
		:: got == LEASE || got == ALONE
		fi
	}
	if
	:: atomic {
		ANSWERED(me) && got == LEASE ->	/* Cache.await: by a push or the poll */
		got = 0; goto lookUp
	}
	:: atomic {
		ANSWERED(me) && got == VALUE ->	/* Cache.found */
#ifdef GENERATION_LATE
		fresh = fresh | BIT(me);
#endif
		overtake(me, NODE);
		STEP
		insertL1(me, NODE, v);
		printf("node %d: reader %d has found %d, in L1 is %d\n", NODE, me, v, l1[NODE]);
		STEP
		settle(me, NODE, v, false); returns(NODE, v);
		STEP
#ifdef FOUND_FOR_ALL
		finish(me, NODE, TRUST_ALL);
#else
		finish(me, NODE, TRUST_LOCAL);
#endif
		leave(); goto out
	}
#ifdef WAITS
	:: atomic {
		ANSWERED(me) && got == LEASE ->	/* Cache.awaitLeases: LeaseWait is over */
		got = WAITED; need = 0;
#ifndef WAIT_INSERTS
		fresh = fresh & ~BIT(me); calm(NODE);
#endif
		noteAsOf(me);
		v = SEEN;
		printf("node %d: reader %d has waited for long enough and loads %d\n", NODE, me, v)
	}
#endif
	:: atomic {
		ANSWERED(me) && (got == GRANTED || got == FENCE || got == ALONE) ->
		if	/* Cache.granted */
		:: got == GRANTED && !replaced -> unheard[NODE]--; l1[NODE] = 0
		:: got == GRANTED && replaced -> unheard[NODE]--; overtakes(me, NODE)
		:: else
		fi;
		STEP
		/* Cache.load */
#ifndef ASKS_LATE
		noteAsOf(me);
#endif
		STEP
		v = SEEN;
		printf("node %d: reader %d loads %d\n", NODE, me, v)
	}
	fi;
	atomic {	/* Cache.loaded */
#ifdef ASKS_LATE
		noteAsOf(me);
#endif
#ifdef FAILS
		if
		:: true -> goto failed_
		:: true
		fi;
		stale = 0;
#endif
		overtake(me, NODE);
		STEP
#ifdef L1_ONLY
		insertL1(me, NODE, v); printf("node %d: reader %d has loaded, in L1 is %d\n", NODE, me, l1[NODE]);
		STEP
#endif
		settle(me, NODE, v, false); returns(NODE, v);
		STEP
		if
#ifdef L1_ONLY
		:: got == ALONE -> finish(me, NODE, TRUST_LOCAL); leave(); goto out
#endif
#if defined(WAIT_FILLS)
		:: got == WAITED -> strong = false
#elif defined(WAIT_INSERTS)
		:: got == WAITED -> insertL1(me, NODE, v); finish(me, NODE, TRUST_LOCAL); leave(); goto out
#elif defined(WAIT_TRUSTED)
		:: got == WAITED -> finish(me, NODE, TRUST_ALL); leave(); goto out
#else
		:: got == WAITED -> finish(me, NODE, TRUST_NONE); leave(); goto out
#endif
#ifdef OWES
		:: got == FENCE && owes -> finish(me, NODE, TRUST_NONE); leave(); goto owed
		:: got == FENCE && !owes -> finish(me, NODE, TRUST_NONE); leave(); goto out
#else
		:: got == FENCE -> finish(me, NODE, TRUST_NONE); leave(); goto out
#endif
		:: else -> strong = false; got = 0
		fi
	}
	atomic {	/* Cache.fill */
#ifdef OWES
		if
		:: true
		:: owes = true; drops = true; printf("node %d: the fill of reader %d does not arrive\n", NODE, me);
			finish(me, NODE, TRUST_NONE); leave(); goto owed
		fi;
#endif
		fill_lua(me, NODE, v, ok); answers(me, NODE);
		printf("node %d: reader %d fills %d, accepted %d\n", NODE, me, v, ok);
#ifdef ANSWERS
		if
		:: true
		:: ok -> ok = false; printf("node %d: reader %d has no answer to its fill\n", NODE, me)
		fi;
#endif
		if
		:: ok
		:: else -> v = 0; fresh = fresh & ~BIT(me); calm(NODE)
		fi
	}
	atomic {
		ANSWERED(me);
		if
		:: ok ->
			ok = false;
			insertL1(me, NODE, v); printf("node %d: reader %d has filled, in L1 is %d\n", NODE, me, l1[NODE]);
			STEP
			finish(me, NODE, TRUST_ALL)
#ifdef JOIN_REFUSED
		:: else -> finish(me, NODE, TRUST_ALL)
#else
		:: else -> finish(me, NODE, TRUST_NONE)
#endif
		fi;
		leave(); goto out
	}
#ifdef OWES
owed: atomic {	/* what a load has found is newer than what the lease carries */
		abandon_lua(me, NODE, 0, drops); answers(me, NODE); printf("node %d: reader %d gives back the lease that it may have\n", NODE, me);
		owes = false; drops = false
	}
	atomic { ANSWERED(me); behind = behind & ~BIT(me); goto out }
#endif
#ifdef FAILS
failed_: atomic {	/* the stale value that the lease was granted over stands in, but not for strong reads */
		printf("node %d: the load of reader %d fails, stale is %d\n", NODE, me, stale);
		fresh = fresh & ~BIT(me);
		settle(me, NODE, stale, !stale);
#ifdef STALE
		pastTTL[me] = (stale != 0);
#endif
		if
		:: stale && !strong -> returns(NODE, stale)
		:: else
		fi;
		v = 0; strong = false;
		if
		:: got == FENCE || got == WAITED -> finish(me, NODE, TRUST_NONE); leave(); goto out
		:: else
		fi
	}
	atomic { abandon_lua(me, NODE, stale, false); stale = 0; answers(me, NODE); printf("node %d: reader %d abandons its lease\n", NODE, me) }
	atomic { ANSWERED(me); finish(me, NODE, TRUST_NONE); leave() }
#endif
	} unless { atomic { !up[NODE] -> leave() } };
out:	skip
}

#undef NODE
