/**
 * Moving walkers: the shifts of their noise, the steps, and copies of walkers.  Particles are counted as in the System ("atom")
 * or as in the arrays of the context ("place").
 */

/** Forces in fixed point beyond this are too large for OpenMM, or were not a number. */
#define LARGEST_FORCE ((mm_long) 1 << 62)

DEVICE void storePosition(GLOBAL real4* RESTRICT posq, GLOBAL real4* RESTRICT posqCorrection, int place, mixed4 position) {
    real4 rounded = make_real4((real) position.x, (real) position.y, (real) position.z, posq[place].w);
    posq[place] = rounded;
#ifdef USE_MIXED_PRECISION
    posqCorrection[place] = make_real4((real) (position.x-rounded.x), (real) (position.y-rounded.y),
            (real) (position.z-rounded.z), 0);
#endif
}

/** badWalker becomes walker+1 where a force of the bias is not a number, and -(walker+1) where a physical one is not. */
DEVICE int isBad(mm_long force) {
    return force > LARGEST_FORCE || force < -LARGEST_FORCE;
}

/** From the forces of the bias, make the shifts of the noise of the steps to come. */
KERNEL void setShifts(int numAtoms, int paddedNumAtoms, mixed factor, mixed bound, GLOBAL const mm_long* RESTRICT force,
        GLOBAL const mixed4* RESTRICT velm, GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT states,
        GLOBAL mixed* RESTRICT shifts, GLOBAL int* RESTRICT badWalker) {
    for (int place = GLOBAL_ID; place < numAtoms; place += GLOBAL_SIZE) {
        const int atom = atomIndex[place], walker = atom/NUM_PARTICLES;
        if (states[walker] != 0)
            continue;
        const mixed perForce = factor*sqrt(velm[place].w)/(mixed) 0x100000000;
        for (int axis = 0; axis < NUM_DIMENSIONS; axis++) {
            const mm_long value = force[place+axis*paddedNumAtoms];
            if (isBad(value))
                badWalker[0] = walker+1;
            shifts[NUM_DIMENSIONS*atom+axis] = fmax(fmin(perForce*value, bound), -bound);
        }
    }
}

#ifdef HAS_CONSTRAINTS
/** Shifts u as velocities u/sqrt(m), which OpenMM can project on the constraints; 0 for walkers that do not move. */
KERNEL void shiftsToVelocities(int numAtoms, GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT states,
        GLOBAL const mixed* RESTRICT shifts, GLOBAL mixed4* RESTRICT velm) {
    for (int place = GLOBAL_ID; place < numAtoms; place += GLOBAL_SIZE) {
        const int atom = atomIndex[place];
        const mixed inverseMass = velm[place].w, scale = states[atom/NUM_PARTICLES] == 0 ? sqrt(inverseMass) : (mixed) 0;
        velm[place] = make_mixed4(scale*shifts[3*atom], scale*shifts[3*atom+1], scale*shifts[3*atom+2], inverseMass);
    }
}

KERNEL void velocitiesToShifts(int numAtoms, GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT states,
        GLOBAL mixed4* RESTRICT velm, GLOBAL mixed* RESTRICT shifts) {
    for (int place = GLOBAL_ID; place < numAtoms; place += GLOBAL_SIZE) {
        const int atom = atomIndex[place];
        const mixed4 velocity = velm[place];
        velm[place] = make_mixed4(0, 0, 0, velocity.w);
        if (velocity.w == 0 || states[atom/NUM_PARTICLES] != 0)
            continue;
        const mixed scale = 1/sqrt(velocity.w);
        shifts[3*atom] = scale*velocity.x;
        shifts[3*atom+1] = scale*velocity.y;
        shifts[3*atom+2] = scale*velocity.z;
    }
}

/** Add what the constraints have left of the moves to the positions, but for walkers that are held. */
KERNEL void applyMoves(int numAtoms, GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT states,
        GLOBAL const mixed4* RESTRICT moves, GLOBAL real4* RESTRICT posq, GLOBAL real4* RESTRICT posqCorrection) {
    for (int place = GLOBAL_ID; place < numAtoms; place += GLOBAL_SIZE) {
        if (states[atomIndex[place]/NUM_PARTICLES] != 0)
            continue;
        const mixed4 position = loadPosition(posq, posqCorrection, place), move = moves[place];
        storePosition(posq, posqCorrection, place,
                make_mixed4(position.x+move.x, position.y+move.y, position.z+move.z, 0));
    }
}
#endif

/**
 * One step of all walkers that move; with constraints, the moves before these are applied.  The sums of log weights are
 * integers: exact, and the same in every order.
 */
KERNEL void moveWalkers(int numAtoms, int paddedNumAtoms, mixed mobility, mixed noise, int biased,
        GLOBAL const mm_long* RESTRICT force, GLOBAL real4* RESTRICT posq, GLOBAL real4* RESTRICT posqCorrection,
        GLOBAL const mixed4* RESTRICT velm, GLOBAL const float4* RESTRICT random, int randomIndex,
        GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT states, GLOBAL const mixed* RESTRICT shifts,
        GLOBAL mm_ulong* RESTRICT logWeights, GLOBAL int* RESTRICT steps, GLOBAL int* RESTRICT badWalker
#ifdef HAS_CONSTRAINTS
        , GLOBAL mixed4* RESTRICT moves
#endif
        ) {
    for (int place = GLOBAL_ID; place < numAtoms; place += GLOBAL_SIZE) {
        const int atom = atomIndex[place], walker = atom/NUM_PARTICLES;
        if (states[walker] != 0)
            continue;
        if (atom == walker*NUM_PARTICLES)
            steps[walker]++;
        const mixed inverseMass = velm[place].w;
        if (inverseMass == 0)
            continue;
        const mixed perForce = mobility*inverseMass/(mixed) 0x100000000, spread = noise*sqrt(inverseMass);
        const float4 normal = random[randomIndex+atom];
        const mixed xi[3] = {normal.x, normal.y, normal.z};
        mixed change[3] = {0, 0, 0}, gain = 0;
        for (int axis = 0; axis < NUM_DIMENSIONS; axis++) {
            const mixed shift = biased ? shifts[NUM_DIMENSIONS*atom+axis] : (mixed) 0;
            const mm_long value = force[place+axis*paddedNumAtoms];
            if (isBad(value))
                badWalker[0] = -(walker+1);
            change[axis] = perForce*value+spread*(xi[axis]+shift);
            gain -= shift*(xi[axis]+(mixed) 0.5*shift);
        }
#ifdef HAS_CONSTRAINTS
        moves[place] = make_mixed4(change[0], change[1], change[2], 0);
#else
        const mixed4 position = loadPosition(posq, posqCorrection, place);
        storePosition(posq, posqCorrection, place,
                make_mixed4(position.x+change[0], position.y+change[1], position.z+change[2], 0));
#endif
        if (biased)
            ATOMIC_ADD(&logWeights[walker], (mm_ulong) (mm_long) floor(gain*(mixed) WEIGHT_UNITS+(mixed) 0.5));
    }
}

/** Copies of walkers go through a buffer, because a walker may be a parent and somebody else's child. */
KERNEL void gatherAtoms(int numAtoms, GLOBAL const int* RESTRICT parents, GLOBAL const int* RESTRICT places,
        GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection, GLOBAL mixed4* RESTRICT buffer) {
    for (int atom = GLOBAL_ID; atom < numAtoms; atom += GLOBAL_SIZE) {
        const int walker = atom/NUM_PARTICLES, parent = parents[walker];
        buffer[atom] = loadPosition(posq, posqCorrection, places[atom+(parent-walker)*NUM_PARTICLES]);
    }
}

KERNEL void scatterAtoms(int numAtoms, GLOBAL const int* RESTRICT places, GLOBAL const mixed4* RESTRICT buffer,
        GLOBAL real4* RESTRICT posq, GLOBAL real4* RESTRICT posqCorrection) {
    for (int atom = GLOBAL_ID; atom < numAtoms; atom += GLOBAL_SIZE)
        storePosition(posq, posqCorrection, places[atom], buffer[atom]);
}

KERNEL void gatherWalkers(int numWalkers, GLOBAL const int* RESTRICT parents, GLOBAL const int* RESTRICT states,
        GLOBAL const int* RESTRICT steps, GLOBAL const int* RESTRICT labels, GLOBAL const mm_long* RESTRICT logWeights,
        GLOBAL int4* RESTRICT buffer, GLOBAL mm_long* RESTRICT weightBuffer) {
    for (int walker = GLOBAL_ID; walker < numWalkers; walker += GLOBAL_SIZE) {
        const int parent = parents[walker];
        buffer[walker] = make_int4(states[parent], steps[parent], labels[parent], 0);
        weightBuffer[walker] = logWeights[parent];
    }
}

KERNEL void scatterWalkers(int numWalkers, GLOBAL const int4* RESTRICT buffer, GLOBAL const mm_long* RESTRICT weightBuffer,
        GLOBAL int* RESTRICT states, GLOBAL int* RESTRICT steps, GLOBAL int* RESTRICT labels,
        GLOBAL mm_long* RESTRICT logWeights, GLOBAL int* RESTRICT numMoving) {
    for (int walker = GLOBAL_ID; walker < numWalkers; walker += GLOBAL_SIZE) {
        const int4 copied = buffer[walker];
        states[walker] = copied.x;
        steps[walker] = copied.y;
        labels[walker] = copied.z;
        logWeights[walker] = weightBuffer[walker];
        if (copied.x == 0)
            ATOMIC_ADD(numMoving, 1);
    }
}
