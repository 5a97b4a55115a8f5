// Part of CommittorNetwork.cpp: coordination numbers of many particles, without a row for every pair, which would be too much for
// the caches of a processor: pairs are computed once more for the gradient.
#ifndef OPENMM_RARE_COMMITTORSUMS_H_
#define OPENMM_RARE_COMMITTORSUMS_H_

#include "CommittorVectors.h"

namespace {

/** Squared distance of two particles, at positions by axis and particle. */
template <int Dimensions, int N> inline Vector squareOf(const Vector* x, int n, int i, int j, int v) {
    Vector sum = {};
    for (int axis = 0; axis < Dimensions; axis++) {
        const Vector delta = x[(axis*n+i)*N+v]-x[(axis*n+j)*N+v];
        sum += delta*delta;
    }
    return sum;
}

/** What a pair adds to the coordination numbers of its particles. */
inline Vector termOf(Vector square, float steepness) {
    const Vector fourth = square*square;
    return 1.0f/(1.0f+steepness*(fourth*fourth));
}

template <int Dimensions, int N> void sumCoordinationNumbers(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    const Vector* x = block.row(plan.positions);
    for (int radius = 0; radius < plan.numRadii; radius++) {
        Vector* number = block.row(plan.numbers+radius*n);
        for (int k = 0; k < n*N; k++)
            number[k] = Vector{};
        for (int i = 0; i < n; i++)
            for (int v = 0; v < N; v++) {
                Vector sum = number[i*N+v];
                for (int j = i+1; j < n; j++) {
                    const Vector term = termOf(squareOf<Dimensions, N>(x, n, i, j, v), plan.steepness[radius]);
                    sum += term;
                    number[j*N+v] += term;
                }
                number[i*N+v] = sum;
            }
    }
}

/** Gradients with respect to the positions, from those with respect to the coordination numbers. */
template <int Dimensions, int N> void alongCoordinationNumbers(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    const Vector* x = block.row(plan.positions);
    Vector* out = block.row(plan.positionGradients);
    for (int k = 0; k < Dimensions*n*N; k++)
        out[k] = Vector{};
    for (int i = 0; i < n; i++)
        for (int j = i+1; j < n; j++)
            for (int v = 0; v < N; v++) {
                const Vector square = squareOf<Dimensions, N>(x, n, i, j, v);
                Vector slope = {};
                for (int radius = 0; radius < plan.numRadii; radius++) {
                    const Vector term = termOf(square, plan.steepness[radius]);
                    const Vector* gradient = block.row(plan.numberGradients+radius*n);
                    slope += (gradient[i*N+v]+gradient[j*N+v])*(term*term);
                }
                slope *= square*square*square;
                for (int axis = 0; axis < Dimensions; axis++) {
                    const int first = (axis*n+i)*N+v, second = (axis*n+j)*N+v;
                    const Vector change = slope*(x[first]-x[second]);
                    out[first] += change;
                    out[second] -= change;
                }
            }
}

} // namespace

#endif /*OPENMM_RARE_COMMITTORSUMS_H_*/
