// Part of CommittorNetwork.cpp: features in ascending order, and gradients with respect to them in the order from before.
#ifndef OPENMM_RARE_COMMITTORSORTING_H_
#define OPENMM_RARE_COMMITTORSORTING_H_

#include "CommittorVectors.h"

namespace {

/** Sort by compare and swap; the swaps made are kept for unsort(). */
template <int N> void sort(const Block<N>& block, const CommittorPlan::SortingNetwork& network, Vector* values, int swaps) {
    Mask* swap = (Mask*) block.row(swaps);
    for (int k = 0; k < network.numSwaps; k++) {
        Vector *first = values+network.places[2*k]*N, *second = values+network.places[2*k+1]*N;
        for (int v = 0; v < N; v++) {
            Vector a = first[v], b = second[v];
            Mask wrong = a > b;
            first[v] = wrong ? b : a;
            second[v] = wrong ? a : b;
            *swap++ = wrong;
        }
    }
}

/** From the gradient with respect to sorted values make that with respect to what was sorted. */
template <int N> void unsort(const Block<N>& block, const CommittorPlan::SortingNetwork& network, Vector* gradient, int swaps) {
    const Mask* swap = (const Mask*) block.row(swaps+network.numSwaps);
    for (int k = network.numSwaps-1; k >= 0; k--) {
        Vector *first = gradient+network.places[2*k]*N, *second = gradient+network.places[2*k+1]*N;
        swap -= N;
        for (int v = 0; v < N; v++) {
            Vector a = first[v], b = second[v];
            first[v] = swap[v] ? b : a;
            second[v] = swap[v] ? a : b;
        }
    }
}

/** Sort keys by their upper halves, byte by byte from the lowest: in a time that grows as their number. */
inline unsigned long long* sortKeys(unsigned long long* keys, unsigned long long* spare, int size) {
    int counts[4][256] = {};
    for (int k = 0; k < size; k++)
        for (int byte = 0; byte < 4; byte++)
            counts[byte][keys[k] >> (32+8*byte) & 255]++;
    for (int byte = 0; byte < 4; byte++) {
        if (counts[byte][keys[0] >> (32+8*byte) & 255] == size)
            continue; // they are all alike
        int next = 0;
        for (int& count : counts[byte]) {
            const int start = next;
            next += count;
            count = start;
        }
        for (int k = 0; k < size; k++)
            spare[counts[byte][keys[k] >> (32+8*byte) & 255]++] = keys[k];
        unsigned long long* sorted = spare;
        spare = keys;
        keys = sorted;
    }
    return keys;
}

/** Sort many numbers that are not negative, walker by walker; where each was is kept for unsortColumns(). */
template <int N> void sortColumns(const Block<N>& block, const CommittorPlan::Part& part, Vector* values) {
    const int length = N*Width;
    float* x = (float*) values;
    int* places = (int*) block.row(part.swaps);
    unsigned long long* keys = (unsigned long long*) block.row(part.swaps+part.size);
    for (int lane = 0; lane < length; lane++) {
        for (int k = 0; k < part.size; k++) {
            unsigned int bits; // in the same order as the numbers
            __builtin_memcpy(&bits, x+k*length+lane, sizeof(bits));
            keys[k] = (unsigned long long) bits << 32 | k;
        }
        const unsigned long long* sorted = sortKeys(keys, keys+part.size, part.size);
        for (int k = 0; k < part.size; k++) {
            const unsigned int bits = sorted[k] >> 32;
            __builtin_memcpy(x+k*length+lane, &bits, sizeof(bits));
            places[k*length+lane] = (int) (unsigned int) sorted[k];
        }
    }
}

template <int N> void unsortColumns(const Block<N>& block, const CommittorPlan::Part& part, Vector* gradient) {
    const int length = N*Width;
    float *values = (float*) gradient, *column = (float*) block.row(part.swaps+part.size);
    const int* places = (const int*) block.row(part.swaps);
    for (int lane = 0; lane < length; lane++) {
        for (int k = 0; k < part.size; k++)
            column[places[k*length+lane]] = values[k*length+lane];
        for (int k = 0; k < part.size; k++)
            values[k*length+lane] = column[k];
    }
}

template <int N>
void sortPart(const Block<N>& block, const CommittorPlan::SortingNetwork& network, const CommittorPlan::Part& part, Vector* values) {
    if (part.inColumns)
        sortColumns(block, part, values);
    else
        sort(block, network, values, part.swaps);
}

/** From the gradient with respect to sorted values make that with respect to what was sorted. */
template <int N>
void unsortPart(const Block<N>& block, const CommittorPlan::SortingNetwork& network, const CommittorPlan::Part& part, Vector* gradient) {
    if (part.inColumns)
        unsortColumns(block, part, gradient);
    else
        unsort(block, network, gradient, part.swaps);
}

} // namespace

#endif /*OPENMM_RARE_COMMITTORSORTING_H_*/
