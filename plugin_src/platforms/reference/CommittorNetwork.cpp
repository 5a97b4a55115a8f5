// Logits of a CommittorForce and their gradients, with walkers in the lanes of vectors.  This file is compiled for several
// instruction sets: see InstructionSets.h.
#include "CommittorFeatures.h"
#include "CommittorLayers.h"
#include "InstructionSets.h"

namespace {

/** So few walkers are evaluated one by one. */
const int Few = Width/2;

template <int Type, int N> void evaluate(const Block<N>& block, const double* positions, int count, float* logits,
                                         double* forces, double factor) {
    const CommittorPlan& plan = block.plan;
    computeFeatures(block, positions, count);
    Vector logit[N] = {}, factors[N];
    const bool few = N == 1 && count <= Few;
    if (!few)
        forward<Type>(block, logit);
    else
        for (int lane = 0; lane < count; lane++) {
            ((float*) logit)[lane] = narrowForward<Type>(block, lane);
            if (forces != 0)
                narrowBackward(block, lane);
        }
    for (int k = 0; k < plan.numInLogit; k++)
        for (int v = 0; v < N; v++)
            logit[v] += block.row(plan.features+plan.inLogit[k])[v];
    for (int lane = 0; lane < count; lane++)
        logits[lane] = ((float*) logit)[lane];
    if (forces == 0)
        return;
    if (!few)
        backward(block);
    for (int k = 0; k < plan.numInLogit; k++)
        for (int v = 0; v < N; v++)
            block.row(plan.featureGradients+plan.inLogit[k])[v] += 1.0f;
    backFeatures(block);
    for (int v = 0; v < N; v++)
        factors[v] = 1.0f/(1.0f+exponential(logit[v])); // d ln I/d logit
    store(block, (const float*) factors, factor, forces, count);
}

template <int N> void evaluateBlock(const CommittorPlan& plan, const double* positions, int count, float* work, float* logits,
                                    double* forces, double factor) {
    const Block<N> block = {plan, (Vector*) work};
    if (plan.activation == SiLU)
        evaluate<SiLU>(block, positions, count, logits, forces, factor);
    else if (plan.activation == Tanh)
        evaluate<Tanh>(block, positions, count, logits, forces, factor);
    else
        evaluate<SELU>(block, positions, count, logits, forces, factor);
}

void evaluate(const CommittorPlan& plan, const double* positions, int count, float* work, float* logits, double* forces,
              double factor) {
    if (count <= Width)
        evaluateBlock<1>(plan, positions, count, work, logits, forces, factor);
    else
        evaluateBlock<2>(plan, positions, count, work, logits, forces, factor);
}

} // namespace

const OpenMMRare::CommittorVariant OpenMMRare::RARE_VARIANT(committorVariant) = {2*Width, evaluate};
