/**
 * The network of a CommittorForce and its gradient.  A block of threads takes TILE walkers at a time: a thread holds one neuron
 * of each layer for all of them, so that every weight that is read serves TILE multiplications.
 */

DEVICE void activate(float sum, float* value, float* slope) {
#if ACTIVATION == SILU
    const float s = 1/(1+exp(-sum));
    *value = sum*s;
    *slope = s*(1+sum*(1-s));
#elif ACTIVATION == TANH
    const float y = tanh(sum);
    *value = y;
    *slope = 1-y*y;
#else
    const float scale = 1.05070098735548049f, alpha = 1.67326324235437728f, grown = scale*alpha*exp(sum > 0 ? 0 : sum);
    *value = sum > 0 ? scale*sum : grown-scale*alpha;
    *slope = sum > 0 ? scale : grown;
#endif
}

/** Sums of products of one column of weights with the values of all walkers of the tile, which begin at `in`. */
DEVICE void addProducts(GLOBAL const float* RESTRICT weights, int stride, int count, LOCAL_ARG const float* values, float* sums) {
    for (int k = 0; k < count; k++) {
        const float weight = weights[k*stride];
        for (int t = 0; t < TILE; t++)
            sums[t] += weight*values[k*TILE+t];
    }
}

/**
 * Weights are by layer, input and output; transposed ones by layer, output and input.  The derivatives of the activations of a
 * tile are kept by block: widths without the first and the last add up to NUM_NEURONS.
 */
KERNEL void evaluateNetwork(int numWalkers, int includeForces, GLOBAL const int* RESTRICT widths,
        GLOBAL const float* RESTRICT weights, GLOBAL const float* RESTRICT transposed, GLOBAL const float* RESTRICT biases,
        GLOBAL float* RESTRICT allSlopes, GLOBAL float* RESTRICT work) {
    LOCAL float values[2*WIDEST*TILE];
    GLOBAL float* slopes = allSlopes+GROUP_ID*NUM_NEURONS*TILE;
    for (int first = GROUP_ID*TILE; first < numWalkers; first += NUM_GROUPS*TILE) {
        for (int k = LOCAL_ID; k < NUM_FEATURES*TILE; k += BLOCK) {
            const int walker = first+k%TILE;
            values[k] = work[(mm_long) (ROW_FEATURES+k/TILE)*numWalkers+(walker < numWalkers ? walker : numWalkers-1)];
        }
        SYNC_THREADS
        int in = 0, weight = 0, neuron = 0;
        for (int layer = 0; layer < NUM_LAYERS; layer++) {
            const int numIn = widths[layer], numOut = widths[layer+1], out = WIDEST*TILE-in;
            for (int i = LOCAL_ID; i < numOut; i += BLOCK) {
                float sums[TILE];
                for (int t = 0; t < TILE; t++)
                    sums[t] = biases[neuron+i];
                addProducts(weights+weight+i, numOut, numIn, values+in, sums);
                for (int t = 0; t < TILE; t++) {
                    float value, slope;
                    activate(sums[t], &value, &slope);
                    values[out+i*TILE+t] = value;
                    slopes[(neuron+i)*TILE+t] = slope;
                }
            }
            SYNC_THREADS
            weight += numIn*numOut;
            neuron += numOut;
            in = out;
        }
        const int last = widths[NUM_LAYERS];
        for (int t = LOCAL_ID; t < TILE && first+t < numWalkers; t += BLOCK) {
            float logit = biases[neuron];
            for (int k = 0; k < last; k++)
                logit += weights[weight+k]*values[in+k*TILE+t];
            work[(mm_long) ROW_LOGIT*numWalkers+first+t] = logit;
        }
        SYNC_THREADS
        if (includeForces) {
            for (int k = LOCAL_ID; k < last; k += BLOCK)
                for (int t = 0; t < TILE; t++)
                    values[in+k*TILE+t] = weights[weight+k];
            for (int layer = NUM_LAYERS-1; layer >= 0; layer--) {
                const int numIn = widths[layer], numOut = widths[layer+1], out = WIDEST*TILE-in;
                weight -= numIn*numOut;
                neuron -= numOut;
                for (int i = LOCAL_ID; i < numOut; i += BLOCK) // a thread wrote both factors itself
                    for (int t = 0; t < TILE; t++)
                        values[in+i*TILE+t] *= slopes[(neuron+i)*TILE+t];
                SYNC_THREADS
                for (int i = LOCAL_ID; i < numIn; i += BLOCK) {
                    float sums[TILE];
                    for (int t = 0; t < TILE; t++)
                        sums[t] = 0;
                    addProducts(transposed+weight+i, numIn, numOut, values+in, sums);
                    for (int t = 0; t < TILE; t++)
                        values[out+i*TILE+t] = sums[t];
                }
                in = out;
            }
            SYNC_THREADS
            for (int k = LOCAL_ID; k < NUM_FEATURES*TILE; k += BLOCK)
                if (first+k%TILE < numWalkers)
                    work[(mm_long) (ROW_GRADIENTS+k/TILE)*numWalkers+first+k%TILE] = values[in+k];
            SYNC_THREADS
        }
    }
}
