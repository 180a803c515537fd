/* The algorithm of csrc/core/rva_ring.c under C11's release and acquire, for every interleaving of one producer that attempts
 * FRAMES frames and one consumer.
 *
 * How the memory order is expressed: each of the two counts has one writer and only grows. An atomic load may return
 * any value of the count's modification order that is not older than one this side has seen (coherence), so `load` picks
 * any of them: stale values included, which no interleaving of sequentially consistent steps would show. What happens-before
 * gives is kept apart, as a view: after an acquire load of a release store's value this side knows all that the other did
 * before that store. Slots are plain memory, so two accesses of which one is a write must be ordered by these views: the
 * assertions in `write` and `read` are C11's definition of a data race, not a test of contents alone.
 *
 * Covered: race freedom of the slots, order, no duplicate, no torn frame, conservation, absence of deadlock, for the
 * capacities and lengths that the test runs. Not covered: the compiler's translation of the C code (ThreadSanitizer and
 * the stress test watch that), and rva_ring_queued, which only counts.
 *
 * RELAXED_COMMIT, RELAXED_RELEASE and NO_SPARE_SLOT each break one thing that the argument in csrc/README.md needs; the test
 * demands that the model finds them.
 */
#ifndef CAPACITY
#define CAPACITY 2
#endif
#ifndef FRAMES
#define FRAMES 6
#endif
#ifdef NO_SPARE_SLOT
#define SLOTS CAPACITY
#else
#define SLOTS (CAPACITY + 1)
#endif
#define NONE 255

byte committed = 0, released = 0;      /* newest value of each count */
byte content[SLOTS];                   /* sequence number that the slot holds */
byte write_number[SLOTS];              /* commit number that the slot's last write would get or has got */
byte read_number[SLOTS];               /* commit number of the slot's last read */
byte seen = 0, dropped = 0;
bool finished = false;

inline load(newest, value) { /* value: what was read before, then what is read now */
    do
    :: value < newest -> value++
    :: break
    od
}

inline write(slot, sequence) { /* every earlier read of the slot must happen before this */
    assert(read_number[slot] == NONE || producer_view > read_number[slot]);
    content[slot] = NONE;              /* torn, until the next step */
    write_number[slot] = committed;
    content[slot] = sequence
}

inline read(slot, number) { /* every earlier write of the slot must happen before this */
    assert(write_number[slot] != NONE && consumer_view > write_number[slot]);
    read_number[slot] = number;
    assert(content[slot] != NONE && (last == NONE || content[slot] > last));
    last = content[slot]
}

proctype producer() {
    byte released_seen = 0, producer_view = 0, index = 0, sequence = 0;
    do
    :: sequence == FRAMES -> break
    :: else ->
        write(index, sequence);
        if
        :: committed - released_seen >= CAPACITY ->
            load(released, released_seen);
#ifndef RELAXED_RELEASE
            producer_view = released_seen
#endif
        :: else
        fi;
        if
        :: committed - released_seen >= CAPACITY -> dropped++
        :: else ->
            index = (index + 1) % SLOTS;
            committed++
        fi;
        sequence++
    od;
    finished = true
}

proctype consumer() {
    byte committed_seen = 0, consumer_view = 0, index = 0, last = NONE;
    bool was_finished;
    do
    :: was_finished = finished;
        if
        :: released == committed_seen ->
            if
            :: was_finished -> committed_seen = committed /* the program's end is seen with acquire as well */
            :: else -> load(committed, committed_seen)
            fi;
#ifndef RELAXED_COMMIT
            consumer_view = committed_seen
#endif
        :: else
        fi;
        if
        :: released == committed_seen && was_finished -> break
        :: released == committed_seen && !was_finished -> skip
        :: else ->
            read(index, released);
            seen++;
            index = (index + 1) % SLOTS;
            released++
        fi
    od;
    assert(seen + dropped == FRAMES)
}

init {
    byte slot;
    for (slot : 0 .. SLOTS - 1) { content[slot] = NONE; write_number[slot] = NONE; read_number[slot] = NONE };
    atomic { run producer(); run consumer() }
}
