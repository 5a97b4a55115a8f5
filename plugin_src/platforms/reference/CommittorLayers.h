// Part of CommittorNetwork.cpp: the layers of the network, forward and backward.
#ifndef OPENMM_RARE_COMMITTORLAYERS_H_
#define OPENMM_RARE_COMMITTORLAYERS_H_

#include "CommittorVectors.h"

namespace {

enum Activation { SiLU = 0, Tanh = 1, SELU = 2 };

/** Replace n vectors of sums by their activations, and write the derivatives of these. */
template <int Type> inline void activate(int n, Vector* values, Vector* slopes) {
    for (int i = 0; i < n; i++) {
        const Vector a = values[i];
        if constexpr (Type == SiLU) {
            Vector e = exponential(-a), s = 1.0f/(1.0f+e), y = a*s;
            values[i] = y;
            slopes[i] = s+y*(s*e);
        }
        else if constexpr (Type == Tanh) { // a rational function; in float, tanh is 1 further out
            Vector x = a > 7.9053111f ? all(7.9053111f) : a;
            x = x < -7.9053111f ? all(-7.9053111f) : x;
            Vector x2 = x*x;
            Vector p = -2.76076847742355e-16f*x2+2.00018790482477e-13f;
            p = p*x2-8.60467152213735e-11f;
            p = p*x2+5.12229709037114e-08f;
            p = p*x2+1.48572235717979e-05f;
            p = p*x2+6.37261928875436e-04f;
            p = p*x2+4.89352455891786e-03f;
            Vector q = 1.19825839466702e-06f*x2+1.18534705686654e-04f;
            q = q*x2+2.26843463243900e-03f;
            q = q*x2+4.89352518554385e-03f;
            Vector y = x*p/q;
            values[i] = y;
            slopes[i] = 1.0f-y*y;
        }
        else {
            const float scale = 1.05070098735548049f, alpha = 1.67326324235437728f;
            Vector grown = scale*alpha*exponential(a > 0.0f ? Vector{} : a);
            values[i] = a > 0.0f ? scale*a : grown-scale*alpha;
            slopes[i] = a > 0.0f ? all(scale) : grown;
        }
    }
}

/**
 * Add the product of weights, by input and output, and the inputs of a block to some rows of sums, as many as stay in
 * registers.
 */
template <int Rows, int N> inline void addProduct(const float* weights, int stride, int numInputs, const Vector* inputs,
                                                  Vector (&sums)[Rows][N]) {
    Vector sum[Rows][N];
    for (int r = 0; r < Rows; r++)
        for (int v = 0; v < N; v++)
            sum[r][v] = sums[r][v];
#pragma GCC unroll 4
    for (int k = 0; k < numInputs; k++) {
        for (int r = 0; r < Rows; r++)
            for (int v = 0; v < N; v++)
                sum[r][v] += weights[r]*inputs[v];
        weights += stride;
        inputs += N;
    }
    for (int r = 0; r < Rows; r++)
        for (int v = 0; v < N; v++)
            sums[r][v] = sum[r][v];
}

inline int lastWidth(const CommittorPlan& plan) {
    return plan.numLayers == 0 ? plan.numFeatures : plan.layers[plan.numLayers-1].out;
}

/** The output of the network, from the features. */
template <int Type, int N> void forward(const Block<N>& block, Vector* logit) {
    constexpr int Rows = NumSums/N;
    const CommittorPlan& plan = block.plan;
    int input = plan.features;
    for (int index = 0; index < plan.numLayers; index++) {
        const CommittorPlan::Layer& layer = plan.layers[index];
        Vector* value = block.row(layer.values);
        for (int i = 0; i < layer.out; i += Rows) {
            Vector sums[Rows][N];
            for (int r = 0; r < Rows; r++)
                for (int v = 0; v < N; v++)
                    sums[r][v] = all(layer.bias[i+r]);
            addProduct(layer.weights+i, layer.stride, layer.in, block.row(input), sums);
            for (int r = 0; r < Rows; r++)
                for (int v = 0; v < N; v++)
                    value[(i+r)*N+v] = sums[r][v];
        }
        activate<Type>(layer.out*N, value, block.row(layer.slopes));
        input = layer.values;
    }
    for (int v = 0; v < N; v++) {
        Vector sum = all(plan.lastBias);
        for (int k = 0; k < lastWidth(plan); k++)
            sum += plan.lastWeights[k]*block.row(input)[k*N+v];
        logit[v] = sum;
    }
}

/** The gradient of the output with respect to the features, after forward(). */
template <int N> void backward(const Block<N>& block) {
    constexpr int Rows = NumSums/N;
    const CommittorPlan& plan = block.plan;
    int input = plan.numLayers == 0 ? plan.featureGradients : plan.scratch[0];
    for (int k = 0; k < lastWidth(plan); k++)
        for (int v = 0; v < N; v++)
            block.row(input)[k*N+v] = all(plan.lastWeights[k]);
    for (int index = plan.numLayers-1; index >= 0; index--) {
        const CommittorPlan::Layer& layer = plan.layers[index];
        const Vector* slope = block.row(layer.slopes);
        Vector* in = block.row(input);
        for (int k = 0; k < layer.out*N; k++)
            in[k] *= slope[k];
        int output = index == 0 ? plan.featureGradients : plan.scratch[input == plan.scratch[0]];
        for (int i = 0; i < layer.in; i += Rows) {
            Vector sums[Rows][N] = {};
            addProduct(layer.transposed+i, layer.transposedStride, layer.out, in, sums);
            for (int r = 0; r < Rows; r++)
                for (int v = 0; v < N; v++)
                    block.row(output+i+r)[v] = sums[r][v];
        }
        input = output;
    }
}

/** Chunk vectors of a product of weights, by input and output, and the inputs of a single walker. */
template <int Chunk> inline void addNarrowProduct(const float* weights, int stride, int numInputs, const float* inputs,
                                                  Vector* sums) {
    Vector sum[Chunk];
    for (int c = 0; c < Chunk; c++)
        sum[c] = sums[c];
    for (int k = 0; k < numInputs; k++) {
        const Vector* weight = (const Vector*) (weights+k*stride);
        for (int c = 0; c < Chunk; c++)
            sum[c] += weight[c]*inputs[k];
    }
    for (int c = 0; c < Chunk; c++)
        sums[c] = sum[c];
}

inline void addNarrowProduct(const float* weights, int stride, int numInputs, const float* inputs, float* sums) {
    int i = 0;
    for (; i+8*Width <= stride; i += 8*Width)
        addNarrowProduct<8>(weights+i, stride, numInputs, inputs, (Vector*) (sums+i));
    for (; i+4*Width <= stride; i += 4*Width)
        addNarrowProduct<4>(weights+i, stride, numInputs, inputs, (Vector*) (sums+i));
    for (; i < stride; i += Width)
        addNarrowProduct<1>(weights+i, stride, numInputs, inputs, (Vector*) (sums+i));
}

/**
 * What forward() does, for a single walker, with the neurons in the lanes: for few walkers that is faster.  All sums are in the
 * same order there, so that a walker's numbers do not depend on how many others there are.
 */
template <int Type, int N> float narrowForward(const Block<N>& block, int lane) {
    const CommittorPlan& plan = block.plan;
    float* input = (float*) block.row(plan.scratch[0]);
    for (int k = 0; k < plan.numFeatures; k++)
        input[k] = ((const float*) block.row(plan.features+k))[lane];
    for (int index = 0; index < plan.numLayers; index++) {
        const CommittorPlan::Layer& layer = plan.layers[index];
        float* value = (float*) block.row(layer.values);
        for (int i = 0; i < layer.stride; i++)
            value[i] = layer.bias[i];
        addNarrowProduct(layer.weights, layer.stride, layer.in, input, value);
        activate<Type>(layer.stride/Width, (Vector*) value, block.row(layer.slopes));
        input = value;
    }
    float sum = plan.lastBias;
    for (int k = 0; k < lastWidth(plan); k++)
        sum += plan.lastWeights[k]*input[k];
    return sum;
}

/** What backward() does, for a single walker, after narrowForward(). */
template <int N> void narrowBackward(const Block<N>& block, int lane) {
    const CommittorPlan& plan = block.plan;
    float* gradient = (float*) block.row(plan.scratch[0]);
    for (int k = 0; k < lastWidth(plan); k++)
        gradient[k] = plan.lastWeights[k];
    for (int index = plan.numLayers-1; index >= 0; index--) {
        const CommittorPlan::Layer& layer = plan.layers[index];
        const float* slope = (const float*) block.row(layer.slopes);
        for (int k = 0; k < layer.out; k++)
            gradient[k] *= slope[k];
        float* output = (float*) block.row(plan.scratch[(plan.numLayers-index)%2]);
        for (int i = 0; i < layer.transposedStride; i++)
            output[i] = 0.0f;
        addNarrowProduct(layer.transposed, layer.transposedStride, layer.out, gradient, output);
        gradient = output;
    }
    for (int k = 0; k < plan.numFeatures; k++)
        ((float*) block.row(plan.featureGradients+k))[lane] = gradient[k];
}

} // namespace

#endif /*OPENMM_RARE_COMMITTORLAYERS_H_*/
