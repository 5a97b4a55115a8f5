/**
 * The network of a CommittorForce and its gradient.  A block of threads takes 4*QUADS walkers at a time: a thread holds one
 * neuron of each layer for all of them, so that every weight that is read serves as many multiplications.
 */
#if VALUES_ARE_LOCAL
    #define VALUES LOCAL_ARG
#else
    #define VALUES GLOBAL
#endif

DEVICE void activateOne(float sum, float* value, float* slope) {
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

DEVICE void activate(float4 sum, float4* value, float4* slope) {
    float v[4], s[4];
    activateOne(sum.x, &v[0], &s[0]);
    activateOne(sum.y, &v[1], &s[1]);
    activateOne(sum.z, &v[2], &s[2]);
    activateOne(sum.w, &v[3], &s[3]);
    *value = make_float4(v[0], v[1], v[2], v[3]);
    *slope = make_float4(s[0], s[1], s[2], s[3]);
}

/** Add the products of one column of weights with values to sums. */
DEVICE void addProducts(GLOBAL const float* RESTRICT weights, int stride, int count, VALUES const float4* values, float4* sums) {
    for (int k = 0; k < count; k++) {
        const float weight = weights[k*stride];
        for (int q = 0; q < QUADS; q++)
            sums[q] += weight*values[k*QUADS+q];
    }
}

/**
 * Weights are by layer, input and output; transposed ones by layer, output and input.  Each block has its own place for the
 * derivatives of activations, and for values that are not local.
 */
KERNEL void evaluateNetwork(int numWalkers, int includeForces, GLOBAL const int* RESTRICT widths,
        GLOBAL const float* RESTRICT weights, GLOBAL const float* RESTRICT transposed, GLOBAL const float* RESTRICT biases,
        GLOBAL float4* RESTRICT allSlopes, GLOBAL float4* RESTRICT allValues, GLOBAL float4* RESTRICT work) {
#if VALUES_ARE_LOCAL
    LOCAL float4 values[2*WIDEST*QUADS];
#else
    GLOBAL float4* values = allValues+GROUP_ID*2*WIDEST*QUADS;
#endif
    GLOBAL float4* slopes = allSlopes+GROUP_ID*NUM_NEURONS*QUADS;
    const int quadsOfRow = LANES/4;
    for (int first = GROUP_ID*QUADS; 4*first < numWalkers; first += NUM_GROUPS*QUADS) {
        GLOBAL float4* rows = work+(mm_long) (first/quadsOfRow)*NUM_ROWS*quadsOfRow+first%quadsOfRow;
        for (int k = LOCAL_ID; k < NUM_FEATURES*QUADS; k += BLOCK)
            values[k] = rows[(ROW_FEATURES+k/QUADS)*quadsOfRow+k%QUADS];
        SYNC_THREADS
        int in = 0, weight = 0, neuron = 0;
        for (int layer = 0; layer < NUM_LAYERS; layer++) {
            const int numIn = widths[layer], numOut = widths[layer+1], out = WIDEST*QUADS-in;
            for (int i = LOCAL_ID; i < numOut; i += BLOCK) {
                const float bias = biases[neuron+i];
                float4 sums[QUADS];
                for (int q = 0; q < QUADS; q++)
                    sums[q] = make_float4(bias, bias, bias, bias);
                addProducts(weights+weight+i, numOut, numIn, values+in, sums);
                for (int q = 0; q < QUADS; q++) {
                    float4 value, slope;
                    activate(sums[q], &value, &slope);
                    values[out+i*QUADS+q] = value;
                    slopes[(neuron+i)*QUADS+q] = slope;
                }
            }
            SYNC_THREADS
            weight += numIn*numOut;
            neuron += numOut;
            in = out;
        }
        const int last = widths[NUM_LAYERS];
        for (int q = LOCAL_ID; q < QUADS; q += BLOCK) {
            float4 logit = make_float4(biases[neuron], biases[neuron], biases[neuron], biases[neuron]);
            for (int k = 0; k < last; k++)
                logit += weights[weight+k]*values[in+k*QUADS+q];
            rows[ROW_LOGIT*quadsOfRow+q] = logit;
        }
        SYNC_THREADS
        if (includeForces) {
            for (int k = LOCAL_ID; k < last; k += BLOCK)
                for (int q = 0; q < QUADS; q++)
                    values[in+k*QUADS+q] = make_float4(weights[weight+k], weights[weight+k], weights[weight+k], weights[weight+k]);
            for (int layer = NUM_LAYERS-1; layer >= 0; layer--) {
                const int numIn = widths[layer], numOut = widths[layer+1], out = WIDEST*QUADS-in;
                weight -= numIn*numOut;
                neuron -= numOut;
                for (int i = LOCAL_ID; i < numOut; i += BLOCK) // both factors were written by this thread
                    for (int q = 0; q < QUADS; q++)
                        values[in+i*QUADS+q] *= slopes[(neuron+i)*QUADS+q];
                SYNC_THREADS
                for (int i = LOCAL_ID; i < numIn; i += BLOCK) {
                    float4 sums[QUADS];
                    for (int q = 0; q < QUADS; q++)
                        sums[q] = make_float4(0, 0, 0, 0);
                    addProducts(transposed+weight+i, numIn, numOut, values+in, sums);
                    for (int q = 0; q < QUADS; q++)
                        values[out+i*QUADS+q] = sums[q];
                }
                in = out;
            }
            SYNC_THREADS
            for (int k = LOCAL_ID; k < NUM_FEATURES*QUADS; k += BLOCK)
                rows[(ROW_GRADIENTS+k/QUADS)*quadsOfRow+k%QUADS] = values[in+k];
            SYNC_THREADS
        }
    }
}
