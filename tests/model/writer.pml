/* A caller of Cache.Write (write.go), and the release of a write of unknown outcome (recover.go). */

#define NODE WRITER_NODE(me)
#define SELF (READERS + me)

#ifdef SYMMETRIC
bool wbegun;
#endif
byte adrift;	/* writes that are beyond their node's control, and may yet be applied */

inline dropL1(n)
{
	invalidate(n);
	printf("node %d: drops L1 for writer %d\n", n, me)
}

inline stop()
{
	publishing = publishing & ~BIT(me); behind = behind & ~BIT(SELF); calm(NODE);
	v = 0; got = 0; publish = false;
	ended = ended | BIT(me)
}

proctype writer(byte me)
{
	byte v;
	mtype got;
	bool publish;
	{
	atomic {
#ifdef SYMMETRIC
		me == 0 || wbegun || !up[0];	/* the nodes are alike, so let node 0 be the first that writes */
		wbegun = true;
#endif
		dropL1(NODE)
	}
	atomic {	/* fenced.raise */
		mayCommit = mayCommit | BIT(me);
#ifdef L1_ONLY
		unheard[NODE]++;
#else
		fence_lua(me, NODE); answers(SELF, NODE); unheard[NODE]++;
		printf("node %d: writer %d fences\n", NODE, me);
#endif
#ifdef ANSWERS
		if
		:: true
		:: goto refused
		fi
#endif
	}
	atomic {
		ANSWERED(SELF) -> unheard[NODE]--;
		dropL1(NODE)
	}
	if	/* the write function: it applies its change, or not, or does not know */
	:: atomic {
		!UNSEEN -> commits(me); v = db;
		mayCommit = mayCommit & ~BIT(me);
		printf("node %d: writer %d commits %d\n", NODE, me, v)
	}
#ifndef KNOWN
	:: atomic {
		true -> mayCommit = mayCommit & ~BIT(me);
		printf("node %d: writer %d aborts\n", NODE, me)
	}
	:: atomic {
		true -> adrift = adrift | BIT(me);
		printf("node %d: writer %d does not know whether it has committed\n", NODE, me);
#ifndef UNKNOWN_RELEASE
		goto unknown
#endif
	}
#endif
	fi;
	atomic {
#ifdef EARLY
		v <= SEEN;
#endif
		dropL1(NODE)
	}	/* fenced.lift */
	atomic {	/* Cache.release */
		if :: v -> publish = true :: publish = false fi;
		publishing = (publish -> publishing | BIT(me) : publishing);
#ifdef ANSWERS
		if
		:: true
		:: unheard[NODE]++; pending[NODE]++; goto unanswered
		:: release_lua(me, NODE, publish, v, got); unheard[NODE]++; pending[NODE]++; goto unanswered
		fi;
#endif
#ifdef L1_ONLY
		unheard[NODE]++; publish = false;
#else
		release_lua(me, NODE, publish, v, got); answers(SELF, NODE); unheard[NODE]++;
#endif
		HOLDS(SELF)
		printf("node %d: writer %d releases, publishing %d: %e\n", NODE, me, publish, got);
#ifdef COSTS
		if
		:: publish && got == REMOVED && !changedOutside -> broken(COST)	/* nobody else has changed the record */
		:: else
		fi;
#endif
		publishing = (got == PUBLISHED -> publishing : publishing & ~BIT(me));
		publish = false; got = (got == PUBLISHED || got == GONE -> got : 0)
	}
	atomic {
		ANSWERED(SELF) -> unheard[NODE]--;
		if
		:: got == PUBLISHED ->
			if
#ifdef NO_GENERATION
			:: true -> l1[NODE] = v
#else
			:: (publishing & BIT(me)) && !l1[NODE] -> l1[NODE] = v
#endif
			:: else
			fi
		:: got == GONE -> dropL1(NODE)
		:: else
		fi;
		if
		:: v -> acknowledges(NODE, v); printf("node %d: writer %d returns: %d\n", NODE, me, v)
		:: else
		fi;
		stop(); goto out
	}
unknown: atomic { dropL1(NODE) }
	atomic {	/* Cache.releaseOverdue, at the end of the fence by the node's clock */
#ifndef SHORT_FENCE
		!(mayCommit & BIT(me));
#endif
		release_lua(me, NODE, false, 0, got); answers(SELF, NODE); unheard[NODE]++;
		printf("node %d: overdue release of writer %d: %e\n", NODE, me, got); got = 0
	}
	atomic { ANSWERED(SELF) -> unheard[NODE]--; dropL1(NODE); stop(); goto out }
#ifdef ANSWERS
refused: atomic {	/* no answer to the fence, and FailClosed */
		mayCommit = mayCommit & ~BIT(me);
		release_lua(me, NODE, false, 0, got); answers(SELF, NODE);
		printf("node %d: writer %d has no answer, gives up and releases: %e\n", NODE, me, got)
	}
	atomic {
		ANSWERED(SELF) -> unheard[NODE]--;
		dropL1(NODE);
		stop(); goto out
	}
unanswered: atomic {	/* no answer to the release: it ran, or it did not */
		printf("node %d: writer %d has no answer to its release\n", NODE, me);
		got = 0; publish = false; publishing = publishing & ~BIT(me);
		if
		:: v -> acknowledges(NODE, v); printf("node %d: writer %d returns: %d\n", NODE, me, v); v = 0
		:: else
		fi
	}
	atomic {	/* Cache.tell */
		release_lua(me, NODE, false, 0, got); answers(SELF, NODE);
		printf("node %d: releases for writer %d again: %e\n", NODE, me, got); got = 0
	}
	atomic { ANSWERED(SELF) -> unheard[NODE]--; dropL1(NODE); pending[NODE]--; stop() }
#endif
	} unless { atomic { !up[NODE] -> stop() } };
out:	skip
}

#undef NODE
#undef SELF
