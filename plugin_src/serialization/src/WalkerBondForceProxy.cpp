#include "WalkerBondForceProxy.h"
#include "WalkerBondForce.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include <cmath>
#include <memory>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

WalkerBondForceProxy::WalkerBondForceProxy() : SerializationProxy("WalkerBondForce") {
}

void WalkerBondForceProxy::serialize(const void* object, SerializationNode& node) const {
    auto& force = *static_cast<const WalkerBondForce*>(object);
    node.setIntProperty("version", isfinite(force.getCutoff()) ? 2 : 1);
    node.setIntProperty("forceGroup", force.getForceGroup());
    node.setStringProperty("name", force.getName());
    node.setIntProperty("numWalkers", force.getNumWalkers());
    if (isfinite(force.getCutoff()))
        node.setDoubleProperty("cutoff", force.getCutoff());
    node.createChildNode("Force", &force.getBonds());
}

void* WalkerBondForceProxy::deserialize(const SerializationNode& node) const {
    const int version = node.getIntProperty("version");
    if (version != 1 && version != 2)
        throw OpenMMException("Unsupported version number");
    const unique_ptr<Force> bonds(node.getChildNode("Force").decodeObject<Force>());
    auto* custom = dynamic_cast<CustomBondForce*>(bonds.get());
    if (custom == nullptr)
        throw OpenMMException("WalkerBondForce: the bonds must be a CustomBondForce, not a "+bonds->getName());
    const double cutoff = version == 1 ? INFINITY : node.getDoubleProperty("cutoff");
    auto force = make_unique<WalkerBondForce>(*custom, node.getIntProperty("numWalkers"), cutoff);
    force->setForceGroup(node.getIntProperty("forceGroup", custom->getForceGroup()));
    force->setName(node.getStringProperty("name", custom->getName()));
    return force.release();
}
