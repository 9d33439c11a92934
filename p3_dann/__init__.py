from common import requirements

requirements.demand()       # before torch is imported
