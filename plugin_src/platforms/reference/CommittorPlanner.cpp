#include "CommittorPlanner.h"
#include "InstructionSets.h"
#include <algorithm>
#include <cmath>

using namespace OpenMMRare;
using namespace std;

typedef CommittorForce::Feature Feature;

const CommittorVariant& OpenMMRare::getCommittorVariant() {
    static const CommittorVariant* const variants[] = RARE_VARIANTS(committorVariant);
    return *variants[getInstructionSet()];
}

static int padded(int width) {
    return (width+CommittorPlan::Padding-1)/CommittorPlan::Padding*CommittorPlan::Padding;
}

static bool hasRadius(const Feature& feature) {
    return feature.kind == Feature::Coordination || feature.kind == Feature::CoordinationMoments
            || feature.kind == Feature::DiscGap;
}

/** With more pairs than that, rows of all of them take longer to read than the pairs to be computed once more. */
static const int MostKept = 600;

/** More numbers are sorted walker by walker: the swaps of a network grow as n log^2 n, and so does the memory that they need. */
static const int MostSwapped = 500;

static bool ofPairs(const Feature& feature) {
    return feature.kind == Feature::Distances || hasRadius(feature);
}

CommittorPlanner::CommittorPlanner(const CommittorForce& force, int numParticles) : plan() {
    auto& features = force.getFeatures();
    plan.numParticles = numParticles;
    plan.numDimensions = force.getNumDimensions();
    plan.numPairs = any_of(features.begin(), features.end(), ofPairs) ? numParticles*(numParticles-1)/2 : 0;
    plan.activation = force.getActivation();
    inLogit = force.getInLogit();
    plan.numInLogit = inLogit.size();
    plan.inLogit = inLogit.data();
    plan.needsDistances = any_of(features.begin(), features.end(), [](auto& each) { return each.kind == Feature::Distances; });
    plan.keepsPairs = plan.needsDistances || plan.numPairs <= MostKept;
    const int numKept = plan.keepsPairs ? plan.numPairs : 0;
    plan.positions = addRows(plan.numDimensions*numParticles);
    plan.squares = addRows(numKept);
    plan.distances = addRows(plan.needsDistances ? numKept : 0);
    plan.pairSlopes = addRows(numKept);
    plan.positionGradients = addRows(plan.numDimensions*numParticles);
    planRadii(force);
    planParts(force);
    planLayers(force);
    setParameters(force.getParameters());
}

int CommittorPlanner::addRows(int count) {
    plan.numRows += count;
    return plan.numRows-count;
}

const float* CommittorPlanner::keep(const vector<double>& values) {
    constants.emplace_back(values.begin(), values.end());
    return constants.back().data();
}

/** Batcher's merge exchange sort (Knuth, The Art of Computer Programming, 5.2.2, algorithm M), for any length. */
CommittorPlan::SortingNetwork CommittorPlanner::sortingNetwork(int length) {
    indices.emplace_back();
    vector<int>& places = indices.back();
    int top = 1;
    while (2*top < length)
        top *= 2;
    for (int p = top; p > 0 && length > 1; p /= 2)
        for (int q = top, r = 0, d = p; ; d = q-p, q /= 2, r = p) {
            for (int i = 0; i+d < length; i++)
                if ((i & p) == r)
                    places.insert(places.end(), {i, i+d});
            if (q == p)
                break;
        }
    return {(int) places.size()/2, places.data()};
}

void CommittorPlanner::planRadii(const CommittorForce& force) {
    for (auto& feature : force.getFeatures())
        if (hasRadius(feature) && find(radii.begin(), radii.end(), feature.radius) == radii.end())
            radii.push_back(feature.radius);
    // eighth powers of distances stay far from the limits of float when a radius is the unit
    plan.unit = radii.empty() ? 1.0 : radii[0];
    for (double radius : radii)
        steepness.push_back((float) pow(plan.unit/radius, 8));
    needsMoments.assign(radii.size(), 0);
    plan.numRadii = radii.size();
    plan.steepness = steepness.data();
    plan.needsMoments = needsMoments.data();
    plan.terms = addRows(plan.keepsPairs ? plan.numRadii*plan.numPairs : 0);
    plan.numbers = addRows(plan.numRadii*plan.numParticles);
    plan.numberGradients = addRows(plan.numRadii*plan.numParticles);
    plan.moments = addRows(3*plan.numRadii);
    plan.momentGradients = addRows(2*plan.numRadii);
}

void CommittorPlanner::planParts(const CommittorForce& force) {
    plan.distanceOrder = sortingNetwork(plan.numPairs <= MostSwapped ? plan.numPairs : 0);
    plan.coordinationOrder = sortingNetwork(plan.numParticles <= MostSwapped ? plan.numParticles : 0);
    for (auto& feature : force.getFeatures()) {
        CommittorPlan::Part part = {};
        part.kind = feature.kind;
        part.first = plan.numFeatures;
        part.size = feature.size(plan.numParticles);
        plan.numFeatures += part.size;
        part.sorted = feature.sorted && (feature.kind == Feature::Distances || feature.kind == Feature::Coordination);
        part.inColumns = part.sorted && part.size > MostSwapped;
        if (part.inColumns)
            part.swaps = addRows(2*part.size);
        else if (part.sorted)
            part.swaps = addRows((feature.kind == Feature::Distances ? plan.distanceOrder : plan.coordinationOrder).numSwaps);
        if (hasRadius(feature))
            part.radius = find(radii.begin(), radii.end(), feature.radius)-radii.begin();
        if (feature.kind == Feature::CoordinationMoments || feature.kind == Feature::DiscGap)
            needsMoments[part.radius] = 1;
        if (feature.kind == Feature::DiscGap)
            part.values = keep(feature.values);
        if (feature.kind == Feature::Coordinates) {
            int total = feature.columns.size();
            vector<int> columns;
            vector<double> matrix;
            for (int column : feature.columns)
                if (column%3 < plan.numDimensions)
                    columns.push_back(column);
            for (int i = 0; i < part.size; i++)
                for (int k = 0; k < total; k++)
                    if (feature.columns[k]%3 < plan.numDimensions)
                        matrix.push_back(feature.values[i*total+k]);
            part.numColumns = columns.size();
            part.values = keep(matrix);
            indices.push_back(columns);
            part.columns = indices.back().data();
            part.columnValues = addRows(part.numColumns);
            part.columnGradients = addRows(part.numColumns);
        }
        parts.push_back(part);
    }
    plan.numParts = parts.size();
    plan.parts = parts.data();
    plan.features = addRows(plan.numFeatures);
    plan.featureGradients = addRows(padded(plan.numFeatures));
}

void CommittorPlanner::planLayers(const CommittorForce& force) {
    widths = force.getWidths();
    int widest = padded(plan.numFeatures);
    for (size_t i = 1; i+1 < widths.size(); i++) {
        CommittorPlan::Layer layer = {};
        layer.in = widths[i-1];
        layer.out = widths[i];
        layer.stride = padded(layer.out);
        layer.transposedStride = padded(layer.in);
        layer.values = addRows(layer.stride);
        layer.slopes = addRows(layer.stride);
        widest = max(widest, layer.stride);
        layers.push_back(layer);
        for (int size : {layer.in*layer.stride, layer.out*layer.transposedStride, layer.stride})
            weights.emplace_back(size/CommittorPlan::Padding);
    }
    plan.numLayers = layers.size();
    plan.layers = layers.data();
    for (int& scratch : plan.scratch)
        scratch = addRows(widest);
}

void CommittorPlanner::setParameters(const vector<double>& parameters) {
    const double* next = parameters.data();
    for (size_t i = 0; i < layers.size(); i++) {
        CommittorPlan::Layer& layer = layers[i];
        float* values[3];
        for (int k = 0; k < 3; k++) {
            fill(weights[3*i+k].begin(), weights[3*i+k].end(), Chunk());
            values[k] = weights[3*i+k].data()->values;
        }
        for (int out = 0; out < layer.out; out++)
            for (int in = 0; in < layer.in; in++)
                values[0][in*layer.stride+out] = values[1][out*layer.transposedStride+in] = (float) *next++;
        for (int out = 0; out < layer.out; out++)
            values[2][out] = (float) *next++;
        layer.weights = values[0];
        layer.transposed = values[1];
        layer.bias = values[2];
    }
    int width = widths[widths.size()-2];
    lastWeights.assign(next, next+width);
    plan.lastWeights = lastWeights.data();
    plan.lastBias = (float) next[width];
}
