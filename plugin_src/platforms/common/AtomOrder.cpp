#include "AtomOrder.h"
#include <vector>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

class AtomOrder::Listener : public ComputeContext::ReorderListener {
public:
    explicit Listener(AtomOrder& order) : order(order) {}
    void execute() { order.update(); }
private:
    AtomOrder& order;
};

void AtomOrder::initialize(ComputeContext& context) {
    cc = &context;
    places.initialize<int>(context, context.getNumAtoms(), "places");
    update();
    context.addReorderListener(new Listener(*this)); // the context deletes it
}

void AtomOrder::update() {
    const vector<int>& atoms = cc->getAtomIndex();
    vector<int> inverse(cc->getNumAtoms());
    for (int place = 0; place < cc->getNumAtoms(); place++)
        inverse[atoms[place]] = place;
    places.upload(inverse);
}
