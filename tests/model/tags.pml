/* Tags: one record with one tag, the table of tags, and two nodes with their mirrors of it. InvalidateTag comes from node 0.

   It is a model of its own. Leases and fences are not in it: they keep older records out whoever tells of a change, and no
   promise of InvalidateTag depends on them. So a fill stores over whatever is there. */

#ifndef LOST		/* so often, the table is lost and made anew */
#define LOST 0
#endif

mtype = { P2, P3 };
mtype = { USEFUL, USELESS, UNKNOWN };

byte db = 1;		/* the version of the record in the primary */
byte acked = 1;		/* the newest one that InvalidateTag has told of, and returned */
byte own = 1;		/* of node 0 the same */

byte epoch = 1, seq = 1;	/* the table: numbers only grow, in a new table too */
byte number;		/* the tag's, 0: the table does not have it */

/* An entry is its version (0: there is none) and its stamp. */
byte l2, l2Seq, l2Epoch;
byte l1[2], l1Seq[2], l1Epoch[2];

byte mirror[2], mirrorSeq[2], mirrorEpoch[2];	/* the tag's number, the highest one, the table's epoch */
bool pushed[2];		/* the table has changed, and the node has not asked for it since */

#define NOBODY 15
byte flight[2];		/* who leads the flight that can be joined */
bool loading[READERS], done[READERS];
bool loaded[READERS], good[READERS];	/* its answer: it was loaded; it was of use when nobody could join any more */
byte result[READERS];
byte followers[READERS];	/* how many wait for it */

/* A flight that nobody needs any more, and a reader that is done, keep no state apart. */
inline forget(f)
{
	if
	:: done[f] && !followers[f] -> loading[f] = false; done[f] = false; loaded[f] = false; good[f] = false; result[f] = 0
	:: else
	fi
}

inline broken(what)
{
	printf("broken: %e\n", what);
	assert(false)
}

/* Mirror.Learn, with an answer to a question that was asked before: now is the least that it knows */
inline learn(n)
{
	if
	:: mirrorEpoch[n] != epoch -> mirror[n] = number; l1[n] = 0
	:: else -> mirror[n] = (number > mirror[n] -> number : mirror[n])
	fi;
	mirrorEpoch[n] = epoch; mirrorSeq[n] = seq; pushed[n] = false
}

/* Mirror.Judge */
inline judge(n, s, e, verdict)
{
	if
#ifndef EPOCH_ANY
	:: e != mirrorEpoch[n] -> verdict = UNKNOWN
	:: e == mirrorEpoch[n] && mirror[n] > s -> verdict = USELESS
	:: e == mirrorEpoch[n] && mirror[n] <= s && s > mirrorSeq[n] -> verdict = UNKNOWN
	:: e == mirrorEpoch[n] && mirror[n] <= s && s <= mirrorSeq[n] -> verdict = USEFUL
#else
	:: mirror[n] > s -> verdict = USELESS
	:: mirror[n] <= s -> verdict = USEFUL
#endif
	fi
}

#define NODE (me >= READERS0)

inline returns(v)
{
	printf("node %d: reader %d returns %d\n", NODE, me, v);
	if
	:: v < need && strong -> broken(P2)
	:: v < need && !strong -> broken(P3)
	:: else
	fi
}

inline ends()
{
	judge(NODE, s, e, verdict);
	result[me] = v; done[me] = true; good[me] = (verdict == USEFUL);
	flight[NODE] = NOBODY;
	forget(me)
}

proctype reader(byte me)
{
	byte v, s, e, need, call;
	bool strong, asked, late;
	mtype verdict;

	atomic {
		if :: strong = true :: strong = false fi;
		need = (strong || !pushed[NODE] -> acked : (NODE == 0 -> own : 0));
		printf("node %d: reader %d begins, strong %d, must see %d\n", NODE, me, strong, need);
		if
		:: !strong && l1[NODE] ->
			judge(NODE, l1Seq[NODE], l1Epoch[NODE], verdict);
			if
			:: verdict == USEFUL -> returns(l1[NODE]); goto out
			:: else -> l1[NODE] = 0
			fi
		:: else
		fi
	}
enter:	atomic {
		if
		:: flight[NODE] != NOBODY ->
			call = flight[NODE]; late = loading[call]; followers[call]++;
			printf("node %d: reader %d joins the flight of reader %d\n", NODE, me, call)
		:: else -> flight[NODE] = me; goto lead
		fi
	}
	atomic {
		done[call] ->
		if
#ifdef STRONG_JOINS
		:: strong && loaded[call] -> returns(result[call]); followers[call]--; forget(call); goto out
#else
		:: strong && loaded[call] && !late -> returns(result[call]); followers[call]--; forget(call); goto out
#endif
#ifdef JOIN_ANY
		:: !strong -> returns(result[call]); followers[call]--; forget(call); goto out
#else
		:: !strong && good[call] -> returns(result[call]); followers[call]--; forget(call); goto out
#endif
		:: else -> followers[call]--; forget(call); call = 0; late = false; goto enter
		fi
	}
lead:	/* the question about the table goes with the lookup; either may be answered first */
	atomic {
		if
		:: strong -> learn(NODE); asked = true
		:: true
		fi
	}
	atomic { v = l2; s = l2Seq; e = l2Epoch; printf("node %d: reader %d finds %d of %d in L2\n", NODE, me, v, s) }
	atomic {	/* Cache.judgeEntry */
		if
#ifndef STRONG_MIRROR
		:: v && strong && !asked -> learn(NODE)
#endif
		:: else
		fi;
		if
		:: v -> judge(NODE, s, e, verdict)
		:: else -> verdict = USELESS
		fi;
		if
		:: verdict == UNKNOWN -> learn(NODE); judge(NODE, s, e, verdict)
		:: else
		fi;
		if
		:: verdict == USEFUL ->
			l1[NODE] = v; l1Seq[NODE] = s; l1Epoch[NODE] = e;
			ends(); returns(v); goto out
		:: else
		fi
	}
	/* Cache.load */
	atomic { s = mirrorSeq[NODE]; e = mirrorEpoch[NODE]; loading[me] = true }
	atomic { v = db; printf("node %d: reader %d loads %d, as of %d\n", NODE, me, v, s) }
	atomic {	/* Cache.fill */
#ifdef STAMP_LATE
		s = mirrorSeq[NODE]; e = mirrorEpoch[NODE];
#endif
		l2 = v; l2Seq = s; l2Epoch = e;
		printf("node %d: reader %d fills %d\n", NODE, me, v)
	}
	atomic {
		l1[NODE] = v; l1Seq[NODE] = s; l1Epoch[NODE] = e;
		loaded[me] = true; ends(); returns(v)
	}
out:	atomic { v = 0; s = 0; e = 0; need = 0; call = 0; strong = false; asked = false; late = false; verdict = 0 }
}

/* The record is changed past the cache, and Cache.InvalidateTag called. */
proctype invalidator()
{
	byte v, left = OUTSIDE;

	do
	:: atomic { left -> left--; db++; v = db; printf("primary: changed past aside: %d\n", db) }
		atomic {
			seq++; number = seq; pushed[0] = true; pushed[1] = true;
			printf("redis: the tag is invalidated, number %d\n", number)
		}
		atomic {
#ifndef OWN_LATE
			learn(0);
#endif
			acked = v; own = v; printf("node 0: has invalidated the tag\n")
		}
	:: !left -> break
	od
}

proctype world()
{
	byte losses = LOST;

end:	do
	:: atomic { pushed[0] -> learn(0); printf("node 0: is told, and asks for the table\n") }
	:: atomic { pushed[1] -> learn(1); printf("node 1: is told, and asks for the table\n") }
	:: atomic {
		losses -> losses--;
		number = 0; pushed[0] = true; pushed[1] = true;
#ifndef LOST_EPOCH
		epoch++;
#endif
		printf("redis: the table is lost\n")
	}
	od
}

init {
	byte i;
	atomic {
		flight[0] = NOBODY; flight[1] = NOBODY;
		for (i : 0 .. 1) { mirrorSeq[i] = seq; mirrorEpoch[i] = epoch }
		if	/* everything is cold, or the record is in L2 and perhaps in L1 */
		:: true
		:: true ->
			l2 = db; l2Seq = seq; l2Epoch = epoch;
			if :: true :: l1[0] = db; l1Seq[0] = seq; l1Epoch[0] = epoch fi;
			if :: true :: l1[1] = db; l1Seq[1] = seq; l1Epoch[1] = epoch fi
		fi;
		run world();
		run invalidator();
		for (i : 0 .. READERS - 1) { run reader(i) }
	}
}
