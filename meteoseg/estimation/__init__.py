"""How far an area per cent can be trusted: sampling error, classification error, reference points, sections joined."""
