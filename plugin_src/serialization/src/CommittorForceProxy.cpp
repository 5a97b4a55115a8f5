#include "CommittorForceProxy.h"
#include "CommittorForce.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include <locale>
#include <memory>
#include <sstream>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

typedef CommittorForce::Feature Feature;

CommittorForceProxy::CommittorForceProxy() : SerializationProxy("CommittorForce") {
}

template <class T> static string write(const vector<T>& values) {
    ostringstream stream;
    stream.imbue(locale::classic());
    stream.precision(17); // enough to read the same double again
    for (size_t i = 0; i < values.size(); i++)
        stream << (i == 0 ? "" : " ") << values[i];
    return stream.str();
}

template <class T> static vector<T> read(const SerializationNode& node, const string& property) {
    istringstream stream(node.getStringProperty(property, ""));
    stream.imbue(locale::classic());
    vector<T> values;
    T value;
    while (stream >> value)
        values.push_back(value);
    if (!stream.eof())
        throw OpenMMException("CommittorForce: '"+property+"' is no list of finite numbers: it ends after "
                              +to_string(values.size()));
    return values;
}

void CommittorForceProxy::serialize(const void* object, SerializationNode& node) const {
    auto& force = *static_cast<const CommittorForce*>(object);
    node.setIntProperty("version", 1);
    node.setIntProperty("forceGroup", force.getForceGroup());
    node.setStringProperty("name", force.getName());
    node.setIntProperty("numWalkers", force.getNumWalkers());
    node.setIntProperty("numDimensions", force.getNumDimensions());
    node.setDoubleProperty("scale", force.getScale());
    node.setIntProperty("activation", force.getActivation());
    node.setStringProperty("inLogit", write(force.getInLogit()));
    node.setStringProperty("widths", write(force.getWidths()));
    node.setStringProperty("parameters", write(force.getParameters()));
    SerializationNode& features = node.createChildNode("Features");
    for (auto& feature : force.getFeatures())
        features.createChildNode("Feature").setIntProperty("kind", feature.kind).setBoolProperty("sorted", feature.sorted)
            .setDoubleProperty("radius", feature.radius).setStringProperty("values", write(feature.values))
            .setStringProperty("columns", write(feature.columns));
}

void* CommittorForceProxy::deserialize(const SerializationNode& node) const {
    if (node.getIntProperty("version") != 1)
        throw OpenMMException("Unsupported version number");
    auto force = make_unique<CommittorForce>(node.getIntProperty("numWalkers"), node.getDoubleProperty("scale"),
            (CommittorForce::Activation) node.getIntProperty("activation", CommittorForce::SiLU));
    force->setForceGroup(node.getIntProperty("forceGroup", 0));
    force->setName(node.getStringProperty("name", force->getName()));
    force->setNumDimensions(node.getIntProperty("numDimensions", 3));
    for (auto& child : node.getChildNode("Features").getChildren()) {
        Feature feature;
        feature.kind = (Feature::Kind) child.getIntProperty("kind");
        feature.sorted = child.getBoolProperty("sorted", false);
        feature.radius = child.getDoubleProperty("radius", 0.0);
        feature.values = read<double>(child, "values");
        feature.columns = read<int>(child, "columns");
        force->addFeature(feature);
    }
    force->setInLogit(read<int>(node, "inLogit"));
    vector<int> widths = read<int>(node, "widths");
    if (!widths.empty())
        force->setNetwork(widths, read<double>(node, "parameters"));
    return force.release();
}
