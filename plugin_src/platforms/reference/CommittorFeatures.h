// Part of CommittorNetwork.cpp: features of the positions, and from gradients with respect to features those with respect to
// positions.
#ifndef OPENMM_RARE_COMMITTORFEATURES_H_
#define OPENMM_RARE_COMMITTORFEATURES_H_

#include "CommittorSorting.h"
#include "CommittorSums.h"

namespace {

enum Kind { Distances = 0, Coordination = 1, CoordinationMoments = 2, DiscGap = 3, Coordinates = 4 };

/** Positions of the particles relative to the first one, in the unit of the plan. */
template <int N> void load(const Block<N>& block, const double* positions, int count) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles, dimensions = plan.numDimensions;
    const double scale = 1.0/plan.unit;
    float* out = (float*) block.row(plan.positions);
    for (int lane = 0; lane < N*Width; lane++) {
        const double* position = positions+3*n*(lane < count ? lane : count-1);
        for (int axis = 0; axis < dimensions; axis++)
            for (int i = 0; i < n; i++)
                out[(axis*n+i)*N*Width+lane] = (float) ((position[3*i+axis]-position[axis])*scale); // then to single precision
    }
}

/** The coordinates that a feature is made of. */
template <int N> void loadColumns(const Block<N>& block, const CommittorPlan::Part& part, const double* positions, int count) {
    const CommittorPlan& plan = block.plan;
    float* out = (float*) block.row(part.columnValues);
    for (int lane = 0; lane < N*Width; lane++) {
        const double* position = positions+3*plan.numParticles*(lane < count ? lane : count-1);
        for (int k = 0; k < part.numColumns; k++)
            out[k*N*Width+lane] = (float) position[part.columns[k]];
    }
}

template <int Dimensions, int N> void squaredDistances(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    const Vector* x = block.row(plan.positions);
    Vector* out = block.row(plan.squares);
    for (int i = 0; i < n; i++)
        for (int j = i+1; j < n; j++)
            for (int v = 0; v < N; v++) {
                Vector sum = {};
                for (int axis = 0; axis < Dimensions; axis++) {
                    Vector delta = x[(axis*n+i)*N+v]-x[(axis*n+j)*N+v];
                    sum += delta*delta;
                }
                *out++ = sum;
            }
}

template <int N> void distances(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const Vector* squares = block.row(plan.squares);
    Vector* out = block.row(plan.distances);
    for (int k = 0; k < plan.numPairs*N; k++)
        out[k] = squareRoot(squares[k]);
}

template <int N> void coordinationNumbers(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    for (int radius = 0; radius < plan.numRadii; radius++) {
        const float steepness = plan.steepness[radius];
        const Vector* square = block.row(plan.squares);
        Vector *term = block.row(plan.terms+radius*plan.numPairs), *number = block.row(plan.numbers+radius*n);
        for (int k = 0; k < n*N; k++)
            number[k] = Vector{};
        for (int i = 0; i < n; i++) {
            Vector sum[N];
            for (int v = 0; v < N; v++)
                sum[v] = number[i*N+v];
            for (int j = i+1; j < n; j++)
                for (int v = 0; v < N; v++) {
                    Vector fourth = *square**square;
                    Vector value = 1.0f/(1.0f+steepness*(fourth*fourth));
                    sum[v] += value;
                    number[j*N+v] += value;
                    *term++ = value;
                    square++;
                }
            for (int v = 0; v < N; v++)
                number[i*N+v] = sum[v];
        }
    }
}

/** Coordination numbers, and distances if there are features of them. */
template <int Dimensions, int N> void computePairs(const Block<N>& block) {
    if (!block.plan.keepsPairs) {
        sumCoordinationNumbers<Dimensions>(block);
        return;
    }
    squaredDistances<Dimensions>(block);
    if (block.plan.needsDistances)
        distances(block);
    coordinationNumbers(block);
}

template <int N> void computeMoments(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    const float share = 1.0f/n;
    for (int radius = 0; radius < plan.numRadii; radius++) {
        if (!plan.needsMoments[radius])
            continue;
        const Vector* number = block.row(plan.numbers+radius*n);
        Vector* out = block.row(plan.moments+3*radius);
        for (int v = 0; v < N; v++) {
            Vector mean = {}, second = {}, third = {};
            for (int i = 0; i < n; i++)
                mean += number[i*N+v];
            mean *= share;
            for (int i = 0; i < n; i++) {
                Vector deviation = number[i*N+v]-mean, square = deviation*deviation;
                second += square;
                third += square*deviation;
            }
            out[v] = mean;
            out[N+v] = second*share;
            out[2*N+v] = third*share;
        }
    }
}

/** The logarithm of how far the moments lie outside a disc. */
template <int N> void gap(const Block<N>& block, const CommittorPlan::Part& part, Vector* value) {
    const CommittorPlan& plan = block.plan;
    const Vector* moment = block.row(plan.moments+3*part.radius+1);
    for (int v = 0; v < N; v++) {
        Vector x = moment[v]-part.values[0], y = moment[N+v]-part.values[1];
        Vector outside = squareRoot(x*x+y*y)-part.values[2];
        outside = outside < 0.0f ? Vector{} : outside;
        value[v] = logarithm(outside+part.values[3]);
    }
}

/** All features, in their order. */
template <int N> void computeFeatures(const Block<N>& block, const double* positions, int count) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    if (plan.numPairs > 0) {
        load(block, positions, count);
        if (plan.numDimensions == 1)
            computePairs<1>(block);
        else if (plan.numDimensions == 2)
            computePairs<2>(block);
        else
            computePairs<3>(block);
        computeMoments(block);
    }
    for (int index = 0; index < plan.numParts; index++) {
        const CommittorPlan::Part& part = plan.parts[index];
        Vector* out = block.row(plan.features+part.first);
        if (part.kind == Distances) {
            const Vector* distance = block.row(plan.distances);
            for (int k = 0; k < part.size*N; k++)
                out[k] = (float) plan.unit*distance[k];
            if (part.sorted)
                sortPart(block, plan.distanceOrder, part, out);
        }
        else if (part.kind == Coordination) {
            const Vector* number = block.row(plan.numbers+part.radius*n);
            for (int k = 0; k < part.size*N; k++)
                out[k] = number[k];
            if (part.sorted)
                sortPart(block, plan.coordinationOrder, part, out);
        }
        else if (part.kind == CoordinationMoments) {
            const Vector* moment = block.row(plan.moments+3*part.radius+1);
            for (int k = 0; k < 2*N; k++)
                out[k] = moment[k];
        }
        else if (part.kind == DiscGap)
            gap(block, part, out);
        else {
            loadColumns(block, part, positions, count);
            const Vector* column = block.row(part.columnValues);
            for (int i = 0; i < part.size; i++)
                for (int v = 0; v < N; v++) {
                    Vector sum = {};
                    for (int k = 0; k < part.numColumns; k++)
                        sum += part.values[i*part.numColumns+k]*column[k*N+v];
                    out[i*N+v] = sum;
                }
        }
    }
}

/** Add what comes from the logarithm of the distance from a disc to the gradients with respect to the moments. */
template <int N> void gapGradient(const Block<N>& block, const CommittorPlan::Part& part, const Vector* gradient) {
    const CommittorPlan& plan = block.plan;
    const Vector* moment = block.row(plan.moments+3*part.radius+1);
    Vector* out = block.row(plan.momentGradients+2*part.radius);
    for (int v = 0; v < N; v++) {
        Vector x = moment[v]-part.values[0], y = moment[N+v]-part.values[1];
        Vector distance = squareRoot(x*x+y*y), outside = distance-part.values[2];
        distance = distance < 1e-30f ? all(1e-30f) : distance;
        Vector slope = gradient[v]/((outside+part.values[3])*distance);
        slope = outside > 0.0f ? slope : Vector{};
        out[v] += x*slope;
        out[N+v] += y*slope;
    }
}

/** Gradients with respect to the coordination numbers, times a factor that each term has in its slope. */
template <int N> void numberGradients(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    for (int k = 0; k < plan.numRadii*n*N; k++)
        block.row(plan.numberGradients)[k] = Vector{};
    for (int k = 0; k < 2*plan.numRadii*N; k++)
        block.row(plan.momentGradients)[k] = Vector{};
    for (int index = 0; index < plan.numParts; index++) {
        const CommittorPlan::Part& part = plan.parts[index];
        Vector* gradient = block.row(plan.featureGradients+part.first);
        if (part.kind == Coordination) {
            if (part.sorted)
                unsortPart(block, plan.coordinationOrder, part, gradient);
            for (int k = 0; k < n*N; k++)
                block.row(plan.numberGradients+part.radius*n)[k] += gradient[k];
        }
        else if (part.kind == CoordinationMoments)
            for (int k = 0; k < 2*N; k++)
                block.row(plan.momentGradients+2*part.radius)[k] += gradient[k];
        else if (part.kind == DiscGap)
            gapGradient(block, part, gradient);
    }
    for (int radius = 0; radius < plan.numRadii; radius++) {
        Vector* out = block.row(plan.numberGradients+radius*n);
        if (plan.needsMoments[radius]) {
            const Vector *number = block.row(plan.numbers+radius*n), *moment = block.row(plan.moments+3*radius);
            const Vector* gradient = block.row(plan.momentGradients+2*radius);
            for (int v = 0; v < N; v++) {
                Vector second = gradient[v]*(2.0f/n), third = gradient[N+v]*(3.0f/n);
                for (int i = 0; i < n; i++) {
                    Vector deviation = number[i*N+v]-moment[v];
                    out[i*N+v] += second*deviation+third*(deviation*deviation-moment[N+v]);
                }
            }
        }
        for (int k = 0; k < n*N; k++)
            out[k] *= -8.0f*plan.steepness[radius];
    }
}

/**
 * Gradients with respect to the positions: a pair's slope, the derivative with respect to half of its squared distance, times
 * the vector between the two.
 */
template <int Dimensions, int N> void alongPairs(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    const Vector* x = block.row(plan.positions);
    Vector *slope = block.row(plan.pairSlopes), *out = block.row(plan.positionGradients);
    for (int k = 0; k < Dimensions*n*N; k++)
        out[k] = Vector{};
    for (int i = 0; i < n; i++)
        for (int j = i+1; j < n; j++)
            for (int v = 0; v < N; v++) {
                for (int axis = 0; axis < Dimensions; axis++) {
                    int first = (axis*n+i)*N+v, second = (axis*n+j)*N+v;
                    Vector change = *slope*(x[first]-x[second]);
                    out[first] += change;
                    out[second] -= change;
                }
                slope++;
            }
}

template <int Dimensions, int N> void backPairs(const Block<N>& block) {
    if (block.plan.keepsPairs)
        alongPairs<Dimensions>(block);
    else
        alongCoordinationNumbers<Dimensions>(block);
}

/** From the gradient with respect to the features, which is overwritten, make that with respect to positions and columns. */
template <int N> void backFeatures(const Block<N>& block) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles;
    if (plan.numPairs > 0)
        numberGradients(block);
    if (plan.numPairs > 0 && plan.keepsPairs) {
        Vector* slope = block.row(plan.pairSlopes);
        const Vector* square = block.row(plan.squares);
        for (int i = 0, pair = 0; i < n; i++)
            for (int j = i+1; j < n; j++, pair++)
                for (int v = 0; v < N; v++) {
                    Vector sum = {}, r2 = square[pair*N+v];
                    for (int radius = 0; radius < plan.numRadii; radius++) {
                        Vector term = block.row(plan.terms+radius*plan.numPairs)[pair*N+v];
                        const Vector* gradient = block.row(plan.numberGradients+radius*n);
                        sum += (gradient[i*N+v]+gradient[j*N+v])*(term*term);
                    }
                    slope[pair*N+v] = sum*(r2*r2*r2);
                }
    }
    for (int index = 0; index < plan.numParts; index++) {
        const CommittorPlan::Part& part = plan.parts[index];
        Vector* gradient = block.row(plan.featureGradients+part.first);
        if (part.kind == Distances) {
            if (part.sorted)
                unsortPart(block, plan.distanceOrder, part, gradient);
            for (int k = 0; k < part.size*N; k++)
                block.row(plan.pairSlopes)[k] += (float) plan.unit*gradient[k]/block.row(plan.distances)[k];
        }
        else if (part.kind == Coordinates)
            for (int k = 0; k < part.numColumns; k++)
                for (int v = 0; v < N; v++) {
                    Vector sum = {};
                    for (int i = 0; i < part.size; i++)
                        sum += part.values[i*part.numColumns+k]*gradient[i*N+v];
                    block.row(part.columnGradients)[k*N+v] = sum;
                }
    }
    if (plan.numPairs > 0) {
        if (plan.numDimensions == 1)
            backPairs<1>(block);
        else if (plan.numDimensions == 2)
            backPairs<2>(block);
        else
            backPairs<3>(block);
    }
}

/** Add factor times the gradients to the forces. */
template <int N> void store(const Block<N>& block, const float* factors, double factor, double* forces, int count) {
    const CommittorPlan& plan = block.plan;
    const int n = plan.numParticles, length = N*Width;
    const float* gradient = (const float*) block.row(plan.positionGradients);
    for (int lane = 0; lane < count; lane++) {
        double* force = forces+3*n*lane;
        const double whole = factor*factors[lane], perUnit = whole/plan.unit;
        if (plan.numPairs > 0)
            for (int axis = 0; axis < plan.numDimensions; axis++)
                for (int i = 0; i < n; i++)
                    force[3*i+axis] += perUnit*gradient[(axis*n+i)*length+lane];
        for (int index = 0; index < plan.numParts; index++) {
            const CommittorPlan::Part& part = plan.parts[index];
            const float* column = (const float*) block.row(part.columnGradients);
            for (int k = 0; k < part.numColumns; k++)
                force[part.columns[k]] += whole*column[k*length+lane];
        }
    }
}

} // namespace

#endif /*OPENMM_RARE_COMMITTORFEATURES_H_*/
