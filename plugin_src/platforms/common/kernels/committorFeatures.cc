/**
 * Features of walkers, and from gradients with respect to features the forces.  The work space has, for every group of LANES
 * walkers, rows with one number for each; CommonCommittorKernel.cpp says which they are.  Coordination numbers are sums of
 * 1/(1+steepness r^8), with distances in a unit that keeps eighth powers far from the limits of float.
 */
#define ROW(row) work[((mm_long) (walker/LANES)*NUM_ROWS+(row))*LANES+walker%LANES]
#define ORDER(row) order[((mm_long) (walker/LANES)*NUM_SORTED+(row))*LANES+walker%LANES]

/** What a part of the features is: a row of the table of parts. */
#define PART_KIND part[0]
#define PART_SORTED part[1]
#define PART_FIRST part[2]
#define PART_SIZE part[3]
#define PART_RADIUS part[4]
#define PART_ORDER part[5]
#define PART_COLUMNS part[6]
#define PART_FIRST_COLUMN part[7]
#define PART_FIRST_NUMBER part[8]
#define PART_LENGTH 9

DEVICE float componentOf(mixed4 vector, int axis) {
    return (float) (axis == 0 ? vector.x : (axis == 1 ? vector.y : vector.z));
}

DEVICE float squaredDistance(GLOBAL const float* RESTRICT work, int walker, int i, int j) {
    float sum = 0;
    for (int axis = 0; axis < NUM_DIMENSIONS; axis++) {
        const float delta = ROW(ROW_POSITIONS+i*NUM_DIMENSIONS+axis)-ROW(ROW_POSITIONS+j*NUM_DIMENSIONS+axis);
        sum += delta*delta;
    }
    return sum;
}

DEVICE float coordinationTerm(float square, float steepness) {
    const float fourth = square*square;
    return 1/(1+steepness*fourth*fourth);
}

/** Positions relative to the first particle, in single precision only after the difference. */
DEVICE void loadWalker(GLOBAL float* RESTRICT work, int walker, GLOBAL const int* RESTRICT places,
        GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection) {
    const mixed4 origin = loadPosition(posq, posqCorrection, places[0]);
    for (int i = 0; i < NUM_PARTICLES; i++) {
        const mixed4 position = loadPosition(posq, posqCorrection, places[i]);
        const mixed delta[3] = {position.x-origin.x, position.y-origin.y, position.z-origin.z};
        for (int axis = 0; axis < NUM_DIMENSIONS; axis++)
            ROW(ROW_POSITIONS+i*NUM_DIMENSIONS+axis) = (float) (delta[axis]/MIXED_UNIT);
    }
}

DEVICE void coordinationNumbers(GLOBAL float* RESTRICT work, int walker, int radius, float steepness) {
    for (int i = 0; i < NUM_PARTICLES; i++) {
        float sum = 0;
        for (int j = 0; j < NUM_PARTICLES; j++)
            if (j != i)
                sum += coordinationTerm(squaredDistance(work, walker, i, j), steepness);
        ROW(ROW_NUMBERS+radius*NUM_PARTICLES+i) = sum;
    }
}

/** Mean, second and third central moment of the coordination numbers. */
DEVICE void computeMoments(GLOBAL float* RESTRICT work, int walker, int radius) {
    float mean = 0, second = 0, third = 0;
    for (int i = 0; i < NUM_PARTICLES; i++)
        mean += ROW(ROW_NUMBERS+radius*NUM_PARTICLES+i);
    mean /= NUM_PARTICLES;
    for (int i = 0; i < NUM_PARTICLES; i++) {
        const float deviation = ROW(ROW_NUMBERS+radius*NUM_PARTICLES+i)-mean, square = deviation*deviation;
        second += square;
        third += square*deviation;
    }
    ROW(ROW_MOMENTS+3*radius) = mean;
    ROW(ROW_MOMENTS+3*radius+1) = second/NUM_PARTICLES;
    ROW(ROW_MOMENTS+3*radius+2) = third/NUM_PARTICLES;
}

/**
 * Batcher's merge exchange sort (Knuth, The Art of Computer Programming, 5.2.2, algorithm M), the same for all walkers; order
 * tells where the numbers were.
 */
DEVICE void sortRows(GLOBAL float* RESTRICT work, GLOBAL int* RESTRICT order, int walker, int values, int places,
        int length) {
    for (int i = 0; i < length; i++)
        ORDER(places+i) = i;
    int top = 1;
    while (2*top < length)
        top *= 2;
    for (int p = length > 1 ? top : 0; p > 0; p /= 2) {
        int q = top, r = 0, d = p;
        while (true) {
            for (int i = 0; i+d < length; i++) {
                if ((i & p) != r)
                    continue;
                const float a = ROW(values+i), b = ROW(values+i+d);
                if (a > b) {
                    const int first = ORDER(places+i);
                    ROW(values+i) = b;
                    ROW(values+i+d) = a;
                    ORDER(places+i) = ORDER(places+i+d);
                    ORDER(places+i+d) = first;
                }
            }
            if (q == p)
                break;
            d = q-p;
            q /= 2;
            r = p;
        }
    }
}

DEVICE void computePart(GLOBAL const int* RESTRICT part, GLOBAL const float* RESTRICT numbers, GLOBAL const int* RESTRICT columns,
        GLOBAL float* RESTRICT work, GLOBAL int* RESTRICT order, int walker, GLOBAL const int* RESTRICT places,
        GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection) {
    const int out = ROW_FEATURES+PART_FIRST;
    if (PART_KIND == DISTANCES)
        for (int i = 0, pair = 0; i < NUM_PARTICLES; i++)
            for (int j = i+1; j < NUM_PARTICLES; j++, pair++)
                ROW(out+pair) = UNIT*sqrt(squaredDistance(work, walker, i, j));
    else if (PART_KIND == COORDINATION)
        for (int i = 0; i < NUM_PARTICLES; i++)
            ROW(out+i) = ROW(ROW_NUMBERS+PART_RADIUS*NUM_PARTICLES+i);
    else if (PART_KIND == COORDINATES)
        for (int i = 0; i < PART_SIZE; i++) {
            float sum = 0;
            for (int k = 0; k < PART_COLUMNS; k++) {
                const int column = columns[PART_FIRST_COLUMN+k];
                const mixed4 position = loadPosition(posq, posqCorrection, places[column/3]);
                sum += numbers[PART_FIRST_NUMBER+i*PART_COLUMNS+k]*componentOf(position, column%3);
            }
            ROW(out+i) = sum;
        }
    else {
        const float second = ROW(ROW_MOMENTS+3*PART_RADIUS+1), third = ROW(ROW_MOMENTS+3*PART_RADIUS+2);
        if (PART_KIND == COORDINATION_MOMENTS) {
            ROW(out) = second;
            ROW(out+1) = third;
        }
        else {
            const float x = second-numbers[PART_FIRST_NUMBER], y = third-numbers[PART_FIRST_NUMBER+1];
            const float outside = sqrt(x*x+y*y)-numbers[PART_FIRST_NUMBER+2];
            ROW(out) = log((outside < 0 ? 0 : outside)+numbers[PART_FIRST_NUMBER+3]);
        }
    }
    if (PART_SORTED)
        sortRows(work, order, walker, out, PART_ORDER, PART_SIZE);
}

/** One thread for each walker. */
KERNEL void computeFeatures(int numWalkers, GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection,
        GLOBAL const int* RESTRICT allPlaces, GLOBAL const int* RESTRICT parts, GLOBAL const float* RESTRICT numbers,
        GLOBAL const int* RESTRICT columns, GLOBAL float* RESTRICT work, GLOBAL int* RESTRICT order) {
    for (int walker = GLOBAL_ID; walker < numWalkers; walker += GLOBAL_SIZE) {
        GLOBAL const int* places = allPlaces+walker*NUM_PARTICLES;
        loadWalker(work, walker, places, posq, posqCorrection);
        for (int radius = 0; radius < NUM_RADII; radius++) {
            coordinationNumbers(work, walker, radius, numbers[radius]);
            computeMoments(work, walker, radius);
        }
        for (int k = 0; k < NUM_PARTS; k++)
            computePart(parts+k*PART_LENGTH, numbers, columns, work, order, walker, places, posq, posqCorrection);
    }
}

/** From gradients with respect to features make those with respect to distances, coordination numbers and their moments. */
DEVICE void backPart(GLOBAL const int* RESTRICT part, GLOBAL const float* RESTRICT numbers, GLOBAL float* RESTRICT work,
        GLOBAL const int* RESTRICT order, int walker) {
    const int in = ROW_GRADIENTS+PART_FIRST, moments = ROW_MOMENT_GRADIENTS+2*PART_RADIUS;
    if (PART_KIND == DISTANCES)
        for (int k = 0; k < PART_SIZE; k++) {
            const int pair = PART_SORTED ? ORDER(PART_ORDER+k) : k;
            ROW(ROW_PAIR_SLOPES+pair) += (UNIT*UNIT)*ROW(in+k)/ROW(ROW_FEATURES+PART_FIRST+k);
        }
    else if (PART_KIND == COORDINATION)
        for (int k = 0; k < PART_SIZE; k++) {
            const int i = PART_SORTED ? ORDER(PART_ORDER+k) : k;
            ROW(ROW_NUMBER_GRADIENTS+PART_RADIUS*NUM_PARTICLES+i) += ROW(in+k);
        }
    else if (PART_KIND == COORDINATION_MOMENTS) {
        ROW(moments) += ROW(in);
        ROW(moments+1) += ROW(in+1);
    }
    else if (PART_KIND == DISC_GAP) {
        const float x = ROW(ROW_MOMENTS+3*PART_RADIUS+1)-numbers[PART_FIRST_NUMBER];
        const float y = ROW(ROW_MOMENTS+3*PART_RADIUS+2)-numbers[PART_FIRST_NUMBER+1];
        const float distance = sqrt(x*x+y*y), outside = distance-numbers[PART_FIRST_NUMBER+2];
        if (outside > 0) {
            const float slope = ROW(in)/((outside+numbers[PART_FIRST_NUMBER+3])*(distance < 1e-30f ? 1e-30f : distance));
            ROW(moments) += x*slope;
            ROW(moments+1) += y*slope;
        }
    }
}

/** Add what the moments contribute to the gradients with respect to the coordination numbers. */
DEVICE void backMoments(GLOBAL float* RESTRICT work, int walker, int radius) {
    const float mean = ROW(ROW_MOMENTS+3*radius), variance = ROW(ROW_MOMENTS+3*radius+1);
    const float second = ROW(ROW_MOMENT_GRADIENTS+2*radius)*2/NUM_PARTICLES;
    const float third = ROW(ROW_MOMENT_GRADIENTS+2*radius+1)*3/NUM_PARTICLES;
    for (int i = 0; i < NUM_PARTICLES; i++) {
        const float deviation = ROW(ROW_NUMBERS+radius*NUM_PARTICLES+i)-mean;
        ROW(ROW_NUMBER_GRADIENTS+radius*NUM_PARTICLES+i) += second*deviation+third*(deviation*deviation-variance);
    }
}

/** Logit, energy and the gradients that the particles need; one thread for each walker. */
KERNEL void finishLogits(int numWalkers, int includeForces, int includeEnergy, mixed scale, GLOBAL const int* RESTRICT parts,
        GLOBAL const float* RESTRICT numbers, GLOBAL const int* RESTRICT inLogit, GLOBAL float* RESTRICT work,
        GLOBAL const int* RESTRICT order, GLOBAL mixed* RESTRICT energyBuffer) {
    mixed energy = 0;
    for (int walker = GLOBAL_ID; walker < numWalkers; walker += GLOBAL_SIZE) {
        float logit = ROW(ROW_LOGIT);
        for (int k = 0; k < NUM_IN_LOGIT; k++)
            logit += ROW(ROW_FEATURES+inLogit[k]);
        energy += scale*((logit < 0 ? logit : 0)-log1p(exp(-fabs(logit))));
        if (!includeForces)
            continue;
        ROW(ROW_LOGIT) = 1/(1+exp(logit)); // d ln I/d logit
        for (int k = 0; k < NUM_IN_LOGIT; k++)
            ROW(ROW_GRADIENTS+inLogit[k]) += 1;
        for (int row = ROW_FIRST_SUM; row < ROW_LAST_SUM; row++)
            ROW(row) = 0;
        for (int k = 0; k < NUM_PARTS; k++)
            backPart(parts+k*PART_LENGTH, numbers, work, order, walker);
        for (int radius = 0; radius < NUM_RADII; radius++)
            backMoments(work, walker, radius);
    }
    if (includeEnergy)
        energyBuffer[GLOBAL_ID] += energy;
}

/** The gradient of the logit with respect to a particle's position, by its distances from others. */
DEVICE void gradientOfPairs(int i, GLOBAL const float* RESTRICT numbers, GLOBAL const float* RESTRICT work, int walker,
        float* sum) {
    for (int j = 0; j < NUM_PARTICLES; j++) {
        if (j == i)
            continue;
        const float square = squaredDistance(work, walker, i, j);
        const int first = i < j ? i : j, second = i < j ? j : i;
        float slope = 0; // derivative with respect to half of the squared distance
        for (int radius = 0; radius < NUM_RADII; radius++) {
            const int gradients = ROW_NUMBER_GRADIENTS+radius*NUM_PARTICLES;
            const float term = coordinationTerm(square, numbers[radius]);
            slope -= 8*numbers[radius]*(ROW(gradients+i)+ROW(gradients+j))*term*term*(square*square*square);
        }
#if HAS_DISTANCES
        slope += ROW(ROW_PAIR_SLOPES+first*(2*NUM_PARTICLES-first-1)/2+second-first-1);
#endif
        for (int axis = 0; axis < NUM_DIMENSIONS; axis++)
            sum[axis] += slope*(ROW(ROW_POSITIONS+i*NUM_DIMENSIONS+axis)-ROW(ROW_POSITIONS+j*NUM_DIMENSIONS+axis));
    }
    for (int axis = 0; axis < NUM_DIMENSIONS; axis++)
        sum[axis] /= UNIT;
}

/** The same by the coordinates that are features. */
DEVICE void gradientOfCoordinates(int i, GLOBAL const int* RESTRICT part, GLOBAL const float* RESTRICT numbers,
        GLOBAL const int* RESTRICT columns, GLOBAL const float* RESTRICT work, int walker, float* sum) {
    for (int k = 0; k < PART_COLUMNS; k++) {
        const int column = columns[PART_FIRST_COLUMN+k];
        if (column/3 == i)
            for (int row = 0; row < PART_SIZE; row++)
                sum[column%3] += numbers[PART_FIRST_NUMBER+row*PART_COLUMNS+k]*ROW(ROW_GRADIENTS+PART_FIRST+row);
    }
}

/** One thread for each particle; neighboring threads serve the same particle of neighboring walkers. */
KERNEL void addForces(int numWalkers, int paddedNumAtoms, mixed scale, GLOBAL const int* RESTRICT places,
        GLOBAL const int* RESTRICT parts, GLOBAL const float* RESTRICT numbers, GLOBAL const int* RESTRICT columns,
        GLOBAL const float* RESTRICT work, GLOBAL mm_ulong* RESTRICT forceBuffers) {
    for (int index = GLOBAL_ID; index < numWalkers*NUM_PARTICLES; index += GLOBAL_SIZE) {
        const int i = index/numWalkers, walker = index-i*numWalkers;
        float sum[3] = {0, 0, 0};
#if HAS_PAIRS
        gradientOfPairs(i, numbers, work, walker, sum);
#endif
        for (int k = 0; k < NUM_PARTS; k++)
            gradientOfCoordinates(i, parts+k*PART_LENGTH, numbers, columns, work, walker, sum);
        const mixed factor = -scale*ROW(ROW_LOGIT);
        const int place = places[walker*NUM_PARTICLES+i];
        for (int axis = 0; axis < NUM_DIMENSIONS; axis++) {
            const real force = (real) (factor*sum[axis]);
            // what is not a number becomes the largest force there is, for the integrator to find
            ATOMIC_ADD(&forceBuffers[place+axis*paddedNumAtoms],
                    isfinite(force) ? (mm_ulong) realToFixedPoint(force) : (mm_ulong) 1 << 63);
        }
    }
}
