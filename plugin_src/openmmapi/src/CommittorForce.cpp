#include "CommittorForce.h"
#include "CommittorForceImpl.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

static void check(bool holds, const string& complaint) {
    if (!holds)
        throw OpenMMException("CommittorForce: "+complaint);
}

/** Whether a number is finite in the single precision in which the force is computed. */
static bool isFinite(double value) {
    return fabs(value) <= FLT_MAX;
}

static bool areFinite(const vector<double>& values) {
    return all_of(values.begin(), values.end(), isFinite);
}

int CommittorForce::Feature::size(int n) const {
    switch (kind) {
        case Distances:
            return n*(n-1)/2;
        case Coordination:
            return n;
        case CoordinationMoments:
            return 2;
        case DiscGap:
            return 1;
        case Coordinates:
            return columns.empty() ? 0 : values.size()/columns.size();
    }
    return 0;
}

CommittorForce::CommittorForce(int numWalkers, double scale, Activation activation) :
        numWalkers(numWalkers), numDimensions(3), scale(scale), activation(activation) {
    check(numWalkers >= 1, "there must be at least one walker, not "+to_string(numWalkers));
    check(isfinite(scale), "the scale must be finite");
    setName("CommittorForce");
    check(activation >= SiLU && activation <= SELU, "there is no activation "+to_string(activation)+", only SiLU (0), Tanh (1) "
          "and SELU (2)");
}

void CommittorForce::setNumDimensions(int value) {
    check(value >= 1 && value <= 3, "the number of dimensions must be 1, 2 or 3, not "+to_string(value));
    numDimensions = value;
}

int CommittorForce::addFeature(const Feature& feature) {
    const int kind = feature.kind;
    check(kind >= Feature::Distances && kind <= Feature::Coordinates, "there is no feature of kind "+to_string(kind));
    if (kind == Feature::Coordination || kind == Feature::CoordinationMoments || kind == Feature::DiscGap)
        check(isFinite(feature.radius) && feature.radius > 0, "the radius of coordination numbers must be positive and finite, "
              "not "+to_string(feature.radius)+" nm");
    if (kind == Feature::DiscGap) {
        check(feature.values.size() == 4, "a disc gap takes 4 values (two of the center, the disc radius and the offset), not "
              +to_string(feature.values.size()));
        check(feature.values[3] > 0, "the offset of a disc gap must be positive, not "+to_string(feature.values[3]));
    }
    if (kind == Feature::Coordinates) {
        const size_t numValues = feature.values.size(), numColumns = feature.columns.size();
        check(numColumns > 0, "coordinates as features need at least one column");
        check(numValues > 0 && numValues%numColumns == 0, "the matrix of the coordinates has "+to_string(numValues)
              +" numbers, which is not a multiple of its "+to_string(numColumns)+" columns");
        for (int column : feature.columns)
            check(column >= 0, "the column "+to_string(column)+" of the coordinates is negative");
    }
    check(areFinite(feature.values), "the values of a feature must be finite");
    features.push_back(feature);
    return features.size()-1;
}

void CommittorForce::setInLogit(const vector<int>& value) {
    for (int index : value)
        check(index >= 0, "the feature "+to_string(index)+" of the logit is negative");
    inLogit = value;
}

void CommittorForce::setNetwork(const vector<int>& widths, const vector<double>& parameters) {
    check(widths.size() >= 2, "the network needs at least two widths: that of its inputs, and 1");
    check(widths.back() == 1, "the last layer of the network must be 1 wide, not "+to_string(widths.back()));
    size_t needed = 0;
    for (size_t i = 0; i < widths.size(); i++) {
        check(widths[i] >= 1, "the widths of the network must be positive, not "+to_string(widths[i]));
        if (i > 0)
            needed += (size_t) widths[i]*((size_t) widths[i-1]+1);
    }
    check(parameters.size() == needed, "the network of these widths has "+to_string(needed)+" parameters, not "
          +to_string(parameters.size()));
    auto bad = find_if_not(parameters.begin(), parameters.end(), isFinite);
    check(bad == parameters.end(), "parameter "+to_string(bad-parameters.begin())+" of the network is not finite in single "
          "precision: train the network again");
    this->widths = widths;
    this->parameters = parameters;
}

ForceImpl* CommittorForce::createImpl() const {
    return new CommittorForceImpl(*this);
}

void CommittorForce::updateParametersInContext(Context& context) {
    dynamic_cast<CommittorForceImpl&>(getImplInContext(context)).updateParametersInContext(getContextImpl(context));
}
