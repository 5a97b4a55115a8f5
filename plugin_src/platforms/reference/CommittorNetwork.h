#ifndef OPENMM_RARE_COMMITTORNETWORK_H_
#define OPENMM_RARE_COMMITTORNETWORK_H_

namespace OpenMMRare {

/**
 * Everything that it takes to evaluate the logit of a CommittorForce and its gradient, as plain data; CommittorPlanner fills it.
 *
 * The work space consists of rows, each with one number for every walker of a block.
 */
struct CommittorPlan {
    /** A hidden layer. */
    struct Layer {
        int in, out;
        /** Numbers from row to row of weights and transposed: multiples of Padding. */
        int stride, transposedStride;
        /** By input and output, and by output and input. */
        const float *weights, *transposed;
        const float* bias;
        /** First rows of the outputs, and of their derivatives with respect to the sums that enter the activation. */
        int values, slopes;
    };
    /** A feature of the force, which may have several components. */
    struct Part {
        int kind, sorted;
        /** The first of its components among all features, and their number. */
        int first, size;
        /** Index of the radius of its coordination numbers. */
        int radius;
        /** First row of the swaps that have sorted it; or, walker by walker, of where each was, and of room to sort. */
        int swaps, inColumns;
        /** DiscGap: center, disc radius and offset.  Coordinates: the matrix. */
        const float* values;
        /** Coordinates: those that count, 3 particle + axis; their values in the same order; their gradients. */
        int numColumns;
        const int* columns;
        int columnValues, columnGradients;
    };
    /** Pairs of places to be compared and swapped, one after the other, until everything is in ascending order. */
    struct SortingNetwork {
        int numSwaps;
        const int* places;
    };
    static constexpr int Padding = 16;

    int numParticles, numDimensions, numPairs, numRadii, numParts, numLayers, numFeatures, numInLogit;
    /** CommittorForce::Activation. */
    int activation;
    /** Length, in nm, in which pair distances are measured inside. */
    double unit;
    /** Whether there are features of distances; whether there is a row for every pair, as they need. */
    bool needsDistances, keepsPairs;
    /** By radius: (unit/radius)^8, and whether a feature is made of the moments. */
    const float* steepness;
    const int* needsMoments;
    const Part* parts;
    const Layer* layers;
    /** Of the output layer. */
    const float* lastWeights;
    float lastBias;
    const int* inLogit;
    SortingNetwork distanceOrder, coordinationOrder;

    /** First rows of: positions by axis and particle, squared distances, distances. */
    int positions, squares, distances;
    /** Terms of the coordination numbers by radius and pair, coordination numbers by radius and particle. */
    int terms, numbers;
    /** By radius: mean, second and third central moment. */
    int moments;
    /** Gradients with respect to the coordination numbers, the moments (second and third), pairs, and positions. */
    int numberGradients, momentGradients, pairSlopes, positionGradients;
    int features, featureGradients;
    /** Two arrays of the width of the widest layer. */
    int scratch[2];
    int numRows;
};

/** The code for one instruction set. */
struct CommittorVariant {
    /** Walkers evaluated at a time. */
    int blockSize;
    /**
     * Evaluate the logit of up to blockSize walkers, and add factor times the gradient of ln I to their forces.
     *
     * @param positions   3 numDimensions numbers of each particle, one walker after the other
     * @param work        numRows rows of blockSize floats, aligned to 64 bytes
     * @param logits      one for each walker
     * @param forces      like the positions, or NULL
     */
    void (*evaluate)(const CommittorPlan& plan, const double* positions, int count, float* work, float* logits, double* forces,
                     double factor);
};

extern const CommittorVariant committorVariant_baseline, committorVariant_avx2, committorVariant_avx512;

/** The variant for this machine. */
const CommittorVariant& getCommittorVariant();

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMITTORNETWORK_H_*/
