/**
 * Looking up walkers in regions, one thread for each.  RegionTables.h describes the tables.
 */

DEVICE mixed dot3(mixed4 a, mixed4 b) {
    return a.x*b.x+a.y*b.y+a.z*b.z;
}

DEVICE mixed4 cross3(mixed4 a, mixed4 b) {
    return make_mixed4(a.y*b.z-a.z*b.y, a.z*b.x-a.x*b.z, a.x*b.y-a.y*b.x, 0);
}

/** The vector from one position to another, or to the nearest of its images in a box of ax, bx, by, cx, cy, cz; ax = 0: none. */
DEVICE mixed4 difference(mixed4 from, mixed4 to, GLOBAL const mixed* RESTRICT box) {
    mixed4 d = make_mixed4(to.x-from.x, to.y-from.y, to.z-from.z, 0);
    if (box[0] != 0) {
        const mixed c = rint(d.z/box[5]);
        d.x -= c*box[3];
        d.y -= c*box[4];
        d.z -= c*box[5];
        const mixed b = rint(d.y/box[2]);
        d.x -= b*box[1];
        d.y -= b*box[2];
        d.x -= rint(d.x/box[0])*box[0];
    }
    return d;
}

DEVICE mixed4 between(GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection, int from, int to,
        GLOBAL const mixed* RESTRICT box) {
    return difference(loadPosition(posq, posqCorrection, from), loadPosition(posq, posqCorrection, to), box);
}

DEVICE mixed componentOf(mixed4 vector, int axis) {
    return axis == 0 ? vector.x : (axis == 1 ? vector.y : vector.z);
}

/** A distance, an angle or a dihedral, of 2, 3 or 4 places. */
DEVICE mixed geometry(int count, const int* p, GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection,
        GLOBAL const mixed* RESTRICT box) {
    const mixed4 a = between(posq, posqCorrection, p[0], p[1], box);
    if (count == 2)
        return sqrt(dot3(a, a));
    const mixed4 b = between(posq, posqCorrection, p[1], p[2], box), ab = cross3(a, b);
    if (count == 3)
        return atan2(sqrt(dot3(ab, ab)), -dot3(a, b));
    const mixed4 c = between(posq, posqCorrection, p[2], p[3], box), bc = cross3(b, c);
    return atan2(sqrt(dot3(b, b))*dot3(a, bc), dot3(ab, bc));
}

/** Mean or central moment of smooth coordination numbers, for which there is work space with one walker after the other. */
DEVICE mixed coordinationMoment(int order, GLOBAL const mixed* RESTRICT radiusAndBox, GLOBAL const int* RESTRICT places,
        GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection, GLOBAL mixed* RESTRICT numbers, int stride) {
    const mixed scale = 1/(radiusAndBox[0]*radiusAndBox[0]);
    mixed mean = 0, moment = 0;
    for (int i = 0; i < NUM_PARTICLES; i++) {
        const mixed4 position = loadPosition(posq, posqCorrection, places[i]);
        mixed number = 0;
        for (int j = 0; j < NUM_PARTICLES; j++) {
            if (j == i)
                continue;
            const mixed4 d = difference(position, loadPosition(posq, posqCorrection, places[j]), radiusAndBox+1);
            const mixed square = dot3(d, d)*scale, fourth = square*square;
            number += 1/(1+fourth*fourth);
        }
        numbers[i*stride] = number;
        mean += number/NUM_PARTICLES;
    }
    if (order == 1)
        return mean;
    for (int i = 0; i < NUM_PARTICLES; i++) {
        const mixed deviation = numbers[i*stride]-mean, square = deviation*deviation/NUM_PARTICLES;
        moment += order == 2 ? square : square*deviation;
    }
    return moment;
}

DEVICE mixed linearCombination(GLOBAL const mixed* RESTRICT coefficients, GLOBAL const int* RESTRICT places,
        GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection) {
    mixed sum = 0;
    for (int i = 0; i < NUM_PARTICLES; i++) {
        const mixed4 position = loadPosition(posq, posqCorrection, places[i]);
        sum += coefficients[3*i]*position.x+coefficients[3*i+1]*position.y+coefficients[3*i+2]*position.z;
    }
    return sum;
}

/** The remainder of a division, from 0 up to the divisor. */
DEVICE mixed modulo(mixed value, mixed divisor) {
    const mixed result = fmod(value, divisor);
    return result < 0 ? result+divisor : result;
}

DEVICE bool inRange(mixed value, mixed lower, mixed upper, mixed period) {
    if (period == 0)
        return value >= lower && value <= upper;
    return upper-lower >= period || modulo(value-lower, period) <= modulo(upper-lower, period);
}

DEVICE bool inRegion(GLOBAL const int* RESTRICT region, GLOBAL const mixed* RESTRICT numbers, const mixed* values,
        const mixed* periods) {
    const int numRanges = region[0], numDiscs = region[1];
    region += 2;
    for (int i = 0; i < numRanges; i++, region += 2) {
        const int variable = region[0];
        if (!inRange(values[variable], numbers[region[1]], numbers[region[1]+1], periods[variable]))
            return false;
    }
    for (int i = 0; i < numDiscs; i++) {
        const int count = region[0], first = region[1];
        region += 2;
        mixed square = 0;
        for (int k = 0; k < count; k++) {
            const int variable = region[k];
            mixed difference = values[variable]-numbers[first+1+k];
            if (periods[variable] != 0)
                difference -= periods[variable]*rint(difference/periods[variable]);
            square += difference*difference;
        }
        if (!(square < numbers[first]))
            return false;
        region += count;
    }
    return true;
}

KERNEL void lookUpWalkers(int numWalkers, GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection,
        GLOBAL const int* RESTRICT allPlaces, GLOBAL const int* RESTRICT variables, GLOBAL const int* RESTRICT regions,
        GLOBAL const int* RESTRICT rules, GLOBAL const mixed* RESTRICT numbers, GLOBAL mixed* RESTRICT coordination,
        GLOBAL int* RESTRICT states, GLOBAL int* RESTRICT labels, GLOBAL int* RESTRICT numMoving) {
    for (int walker = GLOBAL_ID; walker < numWalkers; walker += GLOBAL_SIZE) {
        if (states[walker] != 0)
            continue;
        GLOBAL const int* places = allPlaces+walker*NUM_PARTICLES;
        mixed values[NUM_VARIABLES], periods[NUM_VARIABLES];
        for (int k = 0; k < NUM_VARIABLES; k++) {
            GLOBAL const int* variable = variables+6*k;
            GLOBAL const int* indices = variable+1;
            const int kind = variable[0], first = variable[5];
            periods[k] = numbers[first];
            if (kind == COORDINATE)
                values[k] = componentOf(loadPosition(posq, posqCorrection, places[indices[0]]), indices[1]);
            else if (kind == COORDINATION_MOMENT)
                values[k] = coordinationMoment(indices[0], numbers+first+1, places, posq, posqCorrection,
                        coordination+walker, numWalkers);
            else if (kind == LINEAR_COMBINATION)
                values[k] = linearCombination(numbers+first+1, places, posq, posqCorrection);
            else {
                int chosen[4];
                for (int i = 0; i <= kind; i++)
                    chosen[i] = places[indices[i]];
                values[k] = geometry(kind+1, chosen, posq, posqCorrection, numbers+first+1);
            }
        }
        int state = 0;
        for (int k = 0; k < NUM_ABSORBING && state == 0; k++)
            if (inRegion(regions+regions[k], numbers, values, periods))
                state = k+1;
        const int label = labels[walker];
        for (int k = 0; k < NUM_RULES; k++) {
            const int from = rules[2*k];
            if ((from == ANY_LABEL || from == label) && inRegion(regions+regions[NUM_ABSORBING+k], numbers, values, periods)) {
                labels[walker] = rules[2*k+1];
                break;
            }
        }
        if (state != 0) {
            states[walker] = state;
            ATOMIC_ADD(numMoving, -1);
        }
    }
}
